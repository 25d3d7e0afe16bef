"""Text, end and usage are read from the bytes of any answer, and damage never raises."""

from __future__ import annotations

import gzip
import json
import random
import zlib

import pytest

from gateway.core import Reading, Usage
from gateway.wire.answer_decoding import MAX_DECODED_BYTES
from gateway.wire.chat.reading import parse_answer
from gateway.wire.surfaces import read_outcome
from tests.support.builders import outcome

MESSAGE = {"role": "assistant", "content": "a label", "refusal": None}
USAGE = {
    "prompt_tokens": 9,
    "completion_tokens": 2,
    "total_tokens": 11,
    "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 0},
}
READ = Reading(
    text="a label",
    model="gpt-4o",
    finish_reason="stop",
    usage=Usage(9, 2, cached_tokens=4),
    is_complete=True,
    written_bytes=7,
)


def whole(message: object = MESSAGE, finish_reason: object = "stop", **fields: object) -> bytes:
    choice = {"index": 0, "message": message, "finish_reason": finish_reason}
    return json.dumps({"model": "gpt-4o", "choices": [choice], "usage": USAGE, **fields}).encode()


def stream(*deltas: dict[str, object], finish_reason: str | None = "stop", end: bytes = b"[DONE]") -> bytes:
    choices: list[list[dict[str, object]]] = [[{"index": 0, "delta": delta}] for delta in deltas]
    choices.append([{"index": 0, "delta": {}, "finish_reason": finish_reason}])
    chunks: list[dict[str, object]] = [{"model": "gpt-4o", "choices": choice} for choice in choices]
    chunks.append({"model": "gpt-4o", "choices": [], "usage": USAGE})
    events = [json.dumps(chunk).encode() for chunk in chunks]
    return b"".join(b"data: %b\r\n\r\n" % event for event in (*events, end))


STREAM = stream({"role": "assistant", "content": ""}, {"content": "a "}, {"content": "label"})


def read(answer: bytes, encoding: str = "", *, is_event_stream: bool = False) -> Reading:
    facts = {"answer": answer, "encoding": encoding, "is_event_stream": is_event_stream}
    return read_outcome(outcome(**facts))


def test_whole_and_streamed_say_the_same() -> None:
    assert read(whole()) == READ
    assert read(STREAM, is_event_stream=True) == READ


@pytest.mark.parametrize(
    ("encoding", "encoded"),
    [
        ("identity", whole()),
        ("gzip", gzip.compress(whole())),
        (" GZIP ", gzip.compress(whole())),
        ("deflate", zlib.compress(whole())),
        ("deflate", zlib.compress(whole(), wbits=-15)),
    ],
)
def test_compressed_answers_are_read(encoding: str, encoded: bytes) -> None:
    assert read(encoded, encoding) == READ


@pytest.mark.parametrize(
    "message",
    [
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c"}]},
        {"role": "assistant", "content": "x", "tool_calls": [{"id": "c"}]},
        {"role": "assistant", "content": None, "refusal": "no"},
        {"role": "assistant", "content": None, "function_call": {"name": "f"}},
        {"role": "assistant", "content": None, "audio": {"id": "a"}},
        {"role": "assistant", "content": None},
    ],
)
def test_an_answer_that_is_no_plain_text_has_none(message: dict[str, object]) -> None:
    """Tokens are still counted."""
    for answer, is_event_stream in ((whole(message), False), (stream(message), True)):
        reading = read(answer, is_event_stream=is_event_stream)

        assert reading.text is None
        assert reading.usage == READ.usage


CALL = {
    "id": "c1",
    "type": "function",
    "function": {"name": "find", "arguments": '{"city": "Rome"}'},
}
FIND = '<tool_call>\n{"name":"find","arguments":{"city": "Rome"}}\n</tool_call>'
PING = '<tool_call>\n{"name":"ping","arguments":{}}\n</tool_call>'


def calling(*calls: object, content: str | None = None) -> dict[str, object]:
    return {"role": "assistant", "content": content, "tool_calls": list(calls)}


def piece(index: int, arguments: str, **more: object) -> dict[str, object]:
    return {"index": index, "function": {"arguments": arguments}, **more}


def named(index: int, name: str) -> dict[str, object]:
    function = {"name": name, "arguments": ""}
    return {"index": index, "id": f"c{index}", "type": "function", "function": function}


@pytest.mark.parametrize("content", [None, "", "\n"])
def test_tool_calls_are_read_as_text(content: str | None) -> None:
    """In the order of the calls, with the arguments as the teacher wrote them."""
    ping = {"id": "c2", "type": "function", "function": {"name": "ping", "arguments": ""}}
    reading = read(whole(calling(CALL, ping, content=content), "tool_calls"))

    assert (reading.text, reading.finish_reason, reading.is_complete) == (
        f"{FIND}\n{PING}",
        "tool_calls",
        True,
    )


def test_streamed_tool_calls_are_joined_by_their_index() -> None:
    """Even if the pieces of two calls are mixed, or one event holds both."""
    answer = stream(
        {"role": "assistant", "content": None},
        calling(named(1, "ping")),
        calling(named(0, "find"), piece(0, '{"city": ')),
        calling(piece(1, "{}"), piece(0, '"Rome"}')),
        finish_reason="tool_calls",
    )

    assert read(answer, is_event_stream=True).text == f"{FIND}\n{PING}"


@pytest.mark.parametrize(
    "message",
    [
        calling({**CALL, "type": "custom"}),
        calling({**CALL, "function": {"name": "find", "arguments": '{"city": "Ro'}}),
        calling({**CALL, "function": {"name": "find", "arguments": "[1]"}}),
        calling({**CALL, "function": {"arguments": "{}"}}),
        calling(CALL, {**CALL, "index": 1, "function": None}),
        calling({**CALL, "type": 7}),
        calling(CALL, content="Let me look."),
    ],
)
def test_calls_that_are_not_plain_calls_of_functions_have_no_text(message: dict[str, object]) -> None:
    """Tokens are still counted."""
    for answer, is_event_stream in ((whole(message), False), (stream(message), True)):
        reading = read(answer, is_event_stream=is_event_stream)

        assert reading.text is None
        assert reading.usage == READ.usage


def test_two_calls_under_one_index_are_not_run_together() -> None:
    """Some servers number every call 0."""
    answer = stream(calling(named(0, "find"), piece(0, "{}")), calling(named(0, "ping")))

    assert read(answer, is_event_stream=True).text is None


@pytest.mark.parametrize("none", [None, []])
def test_an_empty_list_of_calls_is_none(none: object) -> None:
    assert read(whole({**MESSAGE, "tool_calls": none})) == READ
    assert read(json.dumps(json.loads(whole({**MESSAGE, "tool_calls": none})), indent=1).encode()) == READ


def test_several_choices_have_no_one_text() -> None:
    choice = {"index": 0, "message": MESSAGE, "finish_reason": "stop"}
    second = stream({"content": "a"}) + b'data: {"choices":[{"index":1,"delta":{"content":"b"}}]}\n\n'

    assert read(whole(choices=[choice, {**choice, "index": 1}])).text is None
    assert read(second, is_event_stream=True).text is None


def test_a_filtered_answer_is_not_text_to_learn() -> None:
    assert read(whole(finish_reason="content_filter")).text is None
    assert read(whole(finish_reason="length")).text == "a label"


@pytest.mark.parametrize(
    "answer",
    [
        stream({"content": "a"}, finish_reason=None),
        stream({"content": "a"}, end=b'{"error":{"message":"cut"}}'),
        whole(finish_reason=None),
    ],
)
def test_an_answer_without_a_proper_end_is_not_complete(answer: bytes) -> None:
    assert not read(answer, is_event_stream=answer.startswith(b"data")).is_complete


def test_a_body_that_did_not_arrive_whole_is_not_complete() -> None:
    assert not parse_answer(whole(), False, is_complete=False).is_complete


def test_an_error_is_no_text() -> None:
    assert read(b'{"error":{"message":"no"}}') == Reading(text=None, status="failed")
    assert read(whole(error={"message": "no"})).text is None
    assert read(whole(error=None)).text == "a label"


@pytest.mark.parametrize(
    "usage",
    [None, {}, [], "many", {"prompt_tokens": "9"}, {"prompt_tokens": -1, "completion_tokens": 2}],
)
def test_odd_usage_does_not_cost_the_text(usage: object) -> None:
    reading = read(whole(usage=usage))

    assert reading.text == "a label"
    assert reading.usage in (None, Usage(9, 0, is_estimated=True), Usage(0, 2, is_estimated=True))


def test_the_parts_of_a_streams_usage_are_put_together() -> None:
    """Some servers say what the prompt took at the beginning, and what was written at the end."""
    events = (
        {"choices": [{"index": 0, "delta": {"content": "a"}}], "usage": {"prompt_tokens": 9}},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": {"completion_tokens": 2}},
    )
    answer = b"".join(b"data: %b\n\n" % json.dumps(event).encode() for event in events)

    assert read(answer, is_event_stream=True).usage == Usage(9, 2)


@pytest.mark.parametrize(
    ("answer", "encoding"),
    [
        (b"", ""),
        (b"<html>", ""),
        (b"[1]", ""),
        (b"[" * 100_000, ""),
        (whole().replace(b"label", b"\xff"), ""),
        (whole()[:-5], ""),
        (gzip.compress(whole())[:-30], "gzip"),
        (whole(), "gzip"),
        (whole(), "deflate"),
        (whole(), "br"),
        (whole(), "gzip, gzip"),
        (gzip.compress(b" " * (MAX_DECODED_BYTES + 1)), "gzip"),
    ],
)
def test_garbage_has_no_text(answer: bytes, encoding: str) -> None:
    reading = read(answer, encoding)

    assert (reading.text, reading.is_complete) == (None, False)


def test_damage_never_raises() -> None:
    """4,000 answers with bytes changed or cut, in all forms."""
    called = stream(calling(named(0, "find")), calling(piece(0, "{}")), finish_reason="tool_calls")
    answers = ((whole(), False), (STREAM, True), (whole(calling(CALL)), False), (called, True))
    dice = random.Random(7)
    for _ in range(1000):
        for answer, is_event_stream in answers:
            damaged = bytearray(answer)
            for _ in range(dice.randrange(1, 6)):
                damaged[dice.randrange(len(damaged))] = dice.randrange(256)
            read(bytes(damaged[: dice.randrange(1, len(damaged) + 1)]), is_event_stream=is_event_stream)
