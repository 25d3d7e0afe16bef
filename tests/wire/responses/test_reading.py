"""Text, end and usage are read from the bytes of any answer of the Responses API."""

from __future__ import annotations

import gzip
import json
from typing import Any

import openai
import pytest
from openai import OpenAI

from gateway.core import Reading, Usage
from gateway.demo.teacher.faults import Fault
from gateway.wire.answer_decoding import decode_answer
from gateway.wire.responses.reading import ends_complete, error_event, parse_answer
from gateway.wire.sse import iter_events
from tests.support.teacher import running_teacher
from tests.support.waiting import PATIENCE_S

MESSAGE: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "status": "completed",
    "content": [{"type": "output_text", "annotations": [], "logprobs": [], "text": "a label"}],
    "role": "assistant",
}
REASONING = {
    "id": "rs_1",
    "type": "reasoning",
    "summary": [],
    "content": [{"type": "reasoning_text", "text": "hm"}],
}
CALL = {
    "type": "function_call",
    "id": "fc_1",
    "call_id": "c1",
    "name": "find",
    "arguments": '{"city": "Rome"}',
}
FIND = '<tool_call>\n{"name":"find","arguments":{"city": "Rome"}}\n</tool_call>'
USAGE = {
    "input_tokens": 9,
    "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 0},
    "output_tokens": 2,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 11,
}
READ = Reading(
    text="a label",
    model="gpt-4o",
    finish_reason="stop",
    usage=Usage(9, 2, cached_tokens=4),
    is_complete=True,
    written_bytes=7,
    id="r",
    status="completed",
)


def response(*output: object, **fields: object) -> dict[str, object]:
    items = output or (MESSAGE,)
    return {"id": "r", "status": "completed", "model": "gpt-4o", "output": items, "usage": USAGE, **fields}


def stream(*events: dict[str, Any]) -> bytes:
    return b"".join(
        b"event: %b\r\ndata: %b\r\n\r\n"
        % (event["type"].encode(), json.dumps({**event, "sequence_number": number}).encode())
        for number, event in enumerate(events)
    )


CREATED = {"type": "response.created", "response": response(status="in_progress", output=[], usage=None)}
DELTAS = [{"type": "response.output_text.delta", "delta": text} for text in ("a ", "label")]
COMPLETED = {"type": "response.completed", "response": response()}


def read(answer: dict[str, object], encoding: str = "") -> Reading:
    return parse_answer(decode_answer(json.dumps(answer).encode(), encoding), False, is_complete=True)


def test_whole_and_streamed_say_the_same() -> None:
    streamed = stream(CREATED, *DELTAS, COMPLETED)

    assert read(response()) == READ
    assert parse_answer(streamed, True, is_complete=True) == READ
    assert parse_answer(decode_answer(gzip.compress(streamed), "gzip"), True, is_complete=True) == READ


def test_reasoning_is_no_part_of_the_answer() -> None:
    assert read(response(REASONING, MESSAGE)) == READ


def test_function_calls_are_read_as_text() -> None:
    reading = read(response(REASONING, CALL, CALL))

    assert (reading.text, reading.finish_reason, reading.is_complete) == (
        f"{FIND}\n{FIND}",
        "tool_calls",
        True,
    )


@pytest.mark.parametrize(
    "output",
    [
        [MESSAGE, CALL],
        [MESSAGE | {"phase": "commentary"}, MESSAGE],
        [CALL | {"arguments": "{"}],
        [CALL | {"name": None}],
        [{"type": "web_search_call", "id": "ws_1", "status": "completed"}, MESSAGE],
        [MESSAGE | {"content": [{"type": "refusal", "refusal": "no"}]}],
        [MESSAGE | {"content": []}],
        [{"type": 7}],
        [REASONING],
    ],
)
def test_an_answer_that_is_not_plain_has_no_text(output: list[object]) -> None:
    """Tokens are still counted."""
    reading = read(response(*output))

    assert reading.text is None
    assert reading.usage is not None
    assert reading.usage.completion_tokens == 2


@pytest.mark.parametrize(
    ("fields", "reason", "text"),
    [
        (
            {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}},
            "length",
            "a label",
        ),
        (
            {"status": "incomplete", "incomplete_details": {"reason": "content_filter"}},
            "content_filter",
            "a label",
        ),
        ({"status": "failed", "error": {"code": "server_error"}}, "", None),
        ({"status": "queued"}, "", None),
    ],
)
def test_the_end_is_named_in_the_words_of_the_chat_api(
    fields: dict[str, object], reason: str, text: str | None
) -> None:
    reading = read(response(**fields))

    assert (reading.finish_reason, reading.text, reading.is_complete) == (reason, text, bool(reason))


def test_a_cut_stream_is_read_as_far_as_it_came() -> None:
    reading = parse_answer(stream(CREATED, *DELTAS), True, is_complete=False)

    assert (reading.text, reading.is_complete, reading.finish_reason) == ("a label", False, "")


@pytest.mark.parametrize(
    "answer",
    [b"", b"null", b"[]", b'{"output": 3', b"\xff", b"[" * 100_000, b'{"usage": {"input_tokens": -1}}'],
)
def test_an_unreadable_answer_has_no_text(answer: bytes) -> None:
    for is_event_stream in (True, False):
        reading = parse_answer(answer, is_event_stream, is_complete=True)
        assert (reading.text, reading.usage, reading.is_complete) == (None, None, False)


@pytest.mark.parametrize(
    ("events", "is_whole"),
    [
        ([CREATED], False),
        ([CREATED, *DELTAS], False),
        ([CREATED, *DELTAS, COMPLETED], True),
        ([CREATED, {"type": "response.incomplete", "response": response()}], True),
        ([CREATED, {"type": "response.failed", "response": response()}], True),
        ([CREATED, {"type": "error", "message": "no"}], True),
    ],
)
def test_an_end_is_distinguished_from_a_cut(events: list[dict[str, Any]], is_whole: bool) -> None:
    assert ends_complete(stream(*events)) is is_whole


def test_half_of_the_last_event_is_no_end() -> None:
    whole = stream(CREATED, COMPLETED)

    assert ends_complete(whole[20:])
    assert not ends_complete(whole[:-40])
    assert not ends_complete(stream(COMPLETED)[60:])


def test_an_event_without_a_number_ends_a_stream_too() -> None:
    assert ends_complete(b'data: {"type":"response.completed","sequence_number":null}\n\n')


@pytest.mark.parametrize(
    ("tail", "number"), [(b"", 0), (stream(CREATED, *DELTAS), 3), (b'number":7}\n\n: ping\n\n', 0)]
)
def test_an_error_event_counts_on(tail: bytes, number: int) -> None:
    """Its fields stand both where the reference has them and where OpenAI sends them."""
    *_, last = iter_events(tail + error_event(tail, "broken off", "api_error", "stream_cut"))

    event = json.loads(last)
    assert (event["type"], event["sequence_number"]) == ("error", number)
    assert (event["message"], event["code"], event["param"]) == ("broken off", "stream_cut", None)
    assert event["error"] == {
        "message": "broken off",
        "type": "api_error",
        "param": None,
        "code": "stream_cut",
    }


def test_the_official_client_raises_an_error_event() -> None:
    begun = stream(CREATED, *DELTAS)
    body = begun + error_event(begun, "broken off", "api_error", "stream_cut")
    with running_teacher() as teacher:
        teacher.control.fail_next(
            Fault(status=200, body=body, headers=(("content-type", "text/event-stream"),))
        )
        client = OpenAI(base_url=teacher.base_url, api_key="any", max_retries=0, timeout=PATIENCE_S)

        with pytest.raises(openai.APIError, match="broken off"):
            list(client.responses.create(model="gpt-4o", input="hello", stream=True))


def test_usage_beside_the_response_counts() -> None:
    end = {
        "type": "response.completed",
        "response": {"status": "completed", "model": "gpt-4o"},
        "usage": USAGE,
    }

    assert parse_answer(stream(CREATED, *DELTAS, end), True, True).usage == Usage(9, 2, cached_tokens=4)


def test_what_a_failed_response_wrote_before_is_counted() -> None:
    """Its last event may repeat nothing of it."""
    end = {"type": "response.failed", "response": {"id": "r", "status": "failed", "output": []}}

    whole, cut = (parse_answer(stream(CREATED, *DELTAS, *rest), True, True) for rest in ([end], []))

    assert whole.written_bytes == cut.written_bytes > 0
