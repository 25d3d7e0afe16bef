"""Streams of the Responses API pass unchanged, and never look complete when cut."""

from __future__ import annotations

import json

from tests.conformance.answers import chunk, head, stream, to_json
from tests.conformance.checks.leaving import assert_stream_left_in_time
from tests.conformance.checks.responses import API, PATH, RESPONSE, response_request
from tests.conformance.harness import Harness, assert_identical
from tests.conformance.table import check
from tests.conformance.teacher import Step, cut, hang, pause


def events(*fields: dict[str, object]) -> list[bytes]:
    """Return events as the API names and numbers them."""
    return [
        b"event: %b\ndata: %b\n\n" % (str(one["type"]).encode(), to_json({**one, "sequence_number": number}))
        for number, one in enumerate(fields)
    ]


STREAM = events(
    {"type": "response.created", "response": {**RESPONSE, "status": "in_progress", "output": []}},
    {"type": "response.in_progress", "response": {**RESPONSE, "status": "in_progress", "output": []}},
    {
        "type": "response.output_item.added",
        "output_index": 0,
        "item": {
            "id": "msg_1",
            "type": "message",
            "status": "in_progress",
            "role": "assistant",
            "content": [],
        },
    },
    {
        "type": "response.content_part.added",
        "item_id": "msg_1",
        "output_index": 0,
        "content_index": 0,
        "part": {"type": "output_text", "text": "", "annotations": []},
    },
    {
        "type": "response.output_text.delta",
        "item_id": "msg_1",
        "output_index": 0,
        "content_index": 0,
        "delta": "Hi",
        "logprobs": [],
        "obfuscation": "x",
    },
    {
        "type": "response.output_text.done",
        "item_id": "msg_1",
        "output_index": 0,
        "content_index": 0,
        "text": "Hi",
    },
    {"type": "response.completed", "response": RESPONSE},
)


@check(831, "a stream arrives byte for byte, event names and all", source=f"{API}, streaming events")
def streamed(harness: Harness) -> None:
    harness.teacher.play(stream(*STREAM))
    got = harness.ask("POST", PATH, response_request(stream=True))
    assert_identical(got.body, b"".join(STREAM))
    assert got.is_whole


def ending(number: int, kind: str, **response: object) -> None:
    """Enter a check that another final event also ends a stream."""

    @check(number, f"a stream that ends with {kind} gets nothing added", source=f"{API}, streaming events")
    def body(harness: Harness) -> None:
        pieces = events({"type": "response.created", "response": RESPONSE}, {"type": kind, **response})
        harness.teacher.play(stream(*pieces))
        assert_identical(harness.ask("POST", PATH, response_request(stream=True)).body, b"".join(pieces))


ending(
    833,
    "response.incomplete",
    response={**RESPONSE, "status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}},
)


ending(
    834,
    "response.failed",
    response={**RESPONSE, "status": "failed", "error": {"code": "server_error", "message": "no"}},
)


ending(835, "error", code="server_error", message="no", param=None)


def never_looks_complete(number: int, rule: str, *play: Step) -> None:
    """Enter a check that no client takes a stream that ends too early for a complete answer."""

    @check(number, rule, source="openai-python _streaming.py: an end without an error is an end")
    def body(harness: Harness) -> None:
        harness.teacher.repeat(play)
        got = harness.ask("POST", PATH, response_request(stream=True))
        assert b"response.completed" not in got.body
        if got.is_whole:
            last = got.events[-1]
            assert last.get("type") == "error", f"it ends in good order with {json.dumps(last)[:80]}"


OPENING = head(200, "content-type: text/event-stream", "transfer-encoding: chunked")


never_looks_complete(
    841, "a stream cut between events never looks complete", OPENING, chunk(STREAM[0]), pause(0.05), cut
)


never_looks_complete(
    842,
    "a stream cut inside an event never looks complete",
    OPENING,
    chunk(STREAM[0] + STREAM[1][:50]),
    pause(0.05),
    cut,
)


never_looks_complete(
    843,
    "a stream without framing that ends early never looks complete",
    head(200, "content-type: text/event-stream", "connection: close"),
    STREAM[0] + STREAM[1],
    cut,
)


@check(
    832,
    "a stream without [DONE] gets none and is complete",
    source="openai-python _streaming.py; API: response.completed",
)
def no_done(harness: Harness) -> None:
    harness.teacher.play(stream(*STREAM))
    got = harness.ask("POST", PATH, response_request(stream=True))
    assert b"[DONE]" not in got.body
    assert got.events[-1]["type"] == "response.completed"


@check(
    844,
    "a client that leaves ends the teacher's work within a second",
    source="openai-node Stream.controller.abort",
)
def leaves(harness: Harness) -> None:
    request = harness.request("POST", PATH, response_request(stream=True))
    assert_stream_left_in_time(harness, [OPENING, chunk(STREAM[0]), hang], request)
