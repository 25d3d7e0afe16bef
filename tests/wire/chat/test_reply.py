"""The teacher's messages as they are trained on: whole, with ids, one per choice."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from gateway.wire.chat.reply import read_replies

WEATHER = {"name": "weather", "arguments": '{"city":"Paris"}'}


def whole(*choices: dict[str, Any]) -> bytes:
    return json.dumps(
        {"choices": [{"index": n, "finish_reason": "stop", **choice} for n, choice in enumerate(choices)]}
    ).encode()


def said(content: str | None, **more: Any) -> dict[str, Any]:
    return {"message": {"role": "assistant", "content": content, **more}}


def called(call_id: Any, function: dict[str, str] = WEATHER) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": function}


def stream(*deltas: dict[str, Any], finish_reason: str = "tool_calls") -> bytes:
    chunks: list[dict[str, Any]] = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": finish_reason}]})
    return b"".join(b"data: %b\n\n" % json.dumps(chunk).encode() for chunk in chunks) + b"data: [DONE]\n\n"


def replies(content: bytes, *, is_stream: bool = False) -> list[dict[str, Any]]:
    return list(json.loads(msgspec.json.encode(read_replies(content, is_stream, "seed"))))


def test_each_choice_is_a_message() -> None:
    assert replies(whole(said("a"), said("b"))) == [
        {"role": "assistant", "content": "a"},
        {"role": "assistant", "content": "b"},
    ]


def test_words_stay_beside_their_calls() -> None:
    made = [called("call_1"), called("call_2")]

    assert replies(whole(said("Let me look.", tool_calls=made))) == [
        {"role": "assistant", "content": "Let me look.", "tool_calls": made}
    ]


def test_a_stream_says_what_the_whole_answer_would() -> None:
    """Parallel calls come in pieces that are told apart by their index alone."""
    pieces: list[dict[str, Any]] = [{"role": "assistant", "content": None}]
    for index in (0, 1):
        begin = {"index": index, **called(f"call_{index}", {"name": "weather", "arguments": ""})}
        pieces.append({"tool_calls": [begin]})
    for part in ('{"city":', '"X"}'):
        pieces += [{"tool_calls": [{"index": index, "function": {"arguments": part}}]} for index in (1, 0)]

    (reply,) = replies(stream(*pieces), is_stream=True)

    assert [(call["id"], call["function"]["arguments"]) for call in reply["tool_calls"]] == [
        ("call_0", '{"city":"X"}'),
        ("call_1", '{"city":"X"}'),
    ]


def test_a_stream_without_indexes_has_one_call() -> None:
    """As some servers send it that call no functions in parallel."""
    pieces = [{"tool_calls": [called("call_1", {"name": "weather", "arguments": ""})]}]
    pieces += [{"tool_calls": [{"function": {"arguments": part}}]} for part in ('{"city":', '"X"}')]

    (reply,) = replies(stream(*pieces), is_stream=True)

    assert [call["function"]["arguments"] for call in reply["tool_calls"]] == ['{"city":"X"}']


@pytest.mark.parametrize("ids", [(None, None), ("", ""), ("same", "same"), ("x" * 41, "y" * 41)])
def test_calls_without_a_usable_id_get_one_of_their_own(ids: tuple[Any, Any]) -> None:
    """Some servers send none, or the same for all; OpenAI takes 40 characters."""
    answer = whole(said(None, tool_calls=[called(each) for each in ids]))

    (reply,) = replies(answer)

    made = [call["id"] for call in reply["tool_calls"]]
    assert len(set(made)) == 2
    assert all(0 < len(call_id) <= 40 for call_id in made)
    assert replies(answer) == [reply]


@pytest.mark.parametrize(
    "choice",
    [
        said(None, refusal="No."),
        {**said("half an ans"), "finish_reason": "length"},
        {**said("..."), "finish_reason": "content_filter"},
        said(""),
        said(None, tool_calls=[called("c", {"name": "weather", "arguments": "Paris"})]),
        said(None, tool_calls=[{"id": "c", "type": "custom", "custom": {"name": "x", "input": "y"}}]),
        said(None, function_call=WEATHER),
        said(None, audio={"id": "a"}),
    ],
    ids=["refused", "cut", "filtered", "empty", "no JSON", "custom", "legacy", "spoken"],
)
def test_what_could_not_be_trained_on_is_left_out(choice: dict[str, Any]) -> None:
    assert replies(whole(choice, said("fine"))) == [{"role": "assistant", "content": "fine"}]


@pytest.mark.parametrize("content", [b"", b"<html>", b'{"choices":7}', b'{"error":{}}'])
def test_an_answer_of_another_shape_holds_no_message(content: bytes) -> None:
    assert replies(content) == []
