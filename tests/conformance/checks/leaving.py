"""A client that leaves ends the work that is done for it."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.conformance.answers import STREAM, chunk, head
from tests.conformance.checks.streams import CHAT, OPENING, delta
from tests.conformance.harness import Harness, best_of_three, chat_body
from tests.conformance.table import check
from tests.conformance.teacher import Play, hang, pause

PROMPT_S = 1.0


def assert_left_in_time(harness: Harness, leave: Callable[[], None]) -> None:
    """Demand that the teacher's connection is closed within PROMPT_S once `leave` has sent and left."""

    def attempt() -> None:
        harness.teacher.forget()
        leave()
        left_at = time.monotonic()
        request = harness.teacher.wait()
        assert request.left.wait(PROMPT_S * 3), "the teacher still works for a client that left"
        took_s = request.left_at - left_at
        assert took_s <= PROMPT_S, f"the teacher's connection was closed after {took_s:.1f} s"

    best_of_three(attempt)


def assert_stream_left_in_time(harness: Harness, play: Play, request: bytes) -> None:
    """Demand the same of a client that leaves after the first event of `play`."""

    def leave() -> None:
        harness.teacher.play(play)
        with harness.connect() as connection:
            connection.send(request)
            connection.head()
            connection.reader.read_until(b"\n\n")

    assert_left_in_time(harness, leave)


@check(
    451,
    "a client that leaves during a stream ends the teacher's work within a second",
    source="openai-node Stream.controller.abort",
)
def leaves_stream(harness: Harness) -> None:
    endless = [step for _ in range(400) for step in (chunk(delta(content="x")), pause(0.02))]
    request = harness.request("POST", CHAT, chat_body(stream=True))
    assert_stream_left_in_time(harness, [OPENING, *endless], request)


@check(
    452,
    "a client that leaves before the answer ends the teacher's work within a second",
    source="openai-python: timeout and cancel close the connection",
)
def leaves_early(harness: Harness) -> None:
    def leave() -> None:
        harness.teacher.play([hang])
        with harness.connect() as connection:
            connection.send(harness.request("POST", CHAT, chat_body()))
            harness.teacher.wait()

    assert_left_in_time(harness, leave)


@check(
    453,
    "a client that leaves a download ends the teacher's work within a second",
    source="API: Files, content; RFC 9112, 9.6",
)
def leaves_download(harness: Harness) -> None:
    def leave() -> None:
        harness.teacher.play(
            [head(200, "content-type: x/y", "transfer-encoding: chunked"), chunk(b"x" * 100), hang]
        )
        with harness.connect() as connection:
            connection.send(harness.request("GET", "/files/file-1/content"))
            connection.head()

    assert_left_in_time(harness, leave)


@check(
    454,
    "a client that leaves during a silent stream ends the teacher's work within a second",
    source="openai-node Stream.controller.abort",
)
def leaves_silence(harness: Harness) -> None:
    request = harness.request("POST", CHAT, chat_body(stream=True))
    assert_stream_left_in_time(harness, [OPENING, chunk(STREAM[0]), hang], request)


@check(
    455,
    "a client that leaves during its upload ends the teacher's call",
    source="RFC 9112, 8: incomplete requests",
)
def leaves_upload(harness: Harness) -> None:
    with harness.connect() as connection:
        connection.send(harness.request("POST", "/files", b"x" * 10_000)[:-5_000])
        time.sleep(0.05)
    time.sleep(0.1)
    assert not harness.teacher.seen, "half of a file was passed on as a whole one"
