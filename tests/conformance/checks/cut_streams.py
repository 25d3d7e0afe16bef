"""A stream that ends too early is an error for every client."""

from __future__ import annotations

import gzip
import json

from tests.conformance.answers import STREAM, chunk, head
from tests.conformance.checks.streams import OPENING
from tests.conformance.harness import Harness, WireAnswer, assert_identical, chat_body
from tests.conformance.table import check
from tests.conformance.teacher import Step, cut, pause, reset


def assert_cut(got: WireAnswer) -> None:
    """Demand that no client takes the answer for a complete one."""
    assert b"[DONE]" not in got.body, "[DONE] ended a stream that was cut"
    if got.is_whole:
        last = got.body.rstrip().rpartition(b"data:")[2]
        assert b'"error"' in last, f"it ends in good order with {last[:80]!r}"
        assert "error" in json.loads(last), "its last event is no error"


def never_looks_complete(number: int, rule: str, *play: Step) -> None:
    """Enter a check that no client takes a stream that ends too early for a complete answer."""

    @check(
        number, rule, source="openai-python _streaming.py: a stream that ends without [DONE] ends silently"
    )
    def body(harness: Harness) -> None:
        harness.teacher.repeat(play)
        got = harness.chat(stream=True)
        assert_cut(got)


HALF = STREAM[1][: len(STREAM[1]) // 2]


never_looks_complete(
    441, "a stream cut between events never looks complete", OPENING, chunk(STREAM[0]), pause(0.05), cut
)


never_looks_complete(
    442,
    "a stream cut inside an event never looks complete",
    OPENING,
    chunk(STREAM[0] + HALF),
    pause(0.05),
    cut,
)


never_looks_complete(
    443, "a stream cut inside a chunk never looks complete", OPENING, b"400\r\n" + STREAM[0], pause(0.05), cut
)


never_looks_complete(
    444,
    "a stream whose connection is reset never looks complete",
    OPENING,
    chunk(STREAM[0]),
    pause(0.05),
    reset,
)


never_looks_complete(
    445,
    "a stream without framing that ends early never looks complete",
    head(200, "content-type: text/event-stream", "connection: close"),
    STREAM[0] + STREAM[1],
    cut,
)


never_looks_complete(
    446, "a stream cut before its first event never looks complete", OPENING, pause(0.05), cut
)


never_looks_complete(
    447,
    "a stream cut inside a character never looks complete",
    OPENING,
    chunk(STREAM[0] + b'data: {"choices":[{"index":0,"delta":{"content":"\xe2\x82'),
    pause(0.05),
    cut,
)


PACKED = gzip.compress(b"".join(STREAM))
PACKED_HEAD = ("content-type: text/event-stream", "content-encoding: gzip")
never_looks_complete(
    448,
    "a compressed stream that is cut never looks complete",
    head(200, *PACKED_HEAD, "transfer-encoding: chunked"),
    chunk(PACKED[: len(PACKED) // 2]),
    pause(0.05),
    cut,
)
never_looks_complete(
    449,
    "a stream of known length that is cut never looks complete",
    head(200, "content-type: text/event-stream", f"content-length: {sum(map(len, STREAM))}"),
    STREAM[0],
    pause(0.05),
    cut,
)


@check(424, "a compressed stream arrives byte for byte", source="RFC 9110, 8.4; HTML standard, 9.2")
def compressed(harness: Harness) -> None:
    body = chat_body(stream=True)
    harness.teacher.play([head(200, *PACKED_HEAD, "transfer-encoding: chunked"), chunk(PACKED), chunk(b"")])
    got = harness.ask("POST", "/chat/completions", body, {"accept-encoding": "gzip"})
    assert got.value("content-encoding") == "gzip"
    assert_identical(got.body, PACKED)
    assert got.is_whole
