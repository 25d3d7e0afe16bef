"""A client which leaves ends the work which was done for it."""

from __future__ import annotations

import time

from tests.conformance.answers import STREAM, chunk, head
from tests.conformance.checks.streams import CHAT, OPENING, delta
from tests.conformance.harness import Lab, question
from tests.conformance.table import check
from tests.conformance.teacher import hang, pause

PROMPT_S = 1.0


def leave_amid_stream(lab: Lab, request: bytes) -> None:
    """Send `request`, leave after the first event, and demand that the teacher is left, too."""
    with lab.connect() as plug:
        plug.send(request)
        plug.head()
        plug.source.until(b"\n\n")
    left_in_time(lab)


def left_in_time(lab: Lab) -> None:
    """Demand that the teacher's connection is closed within PROMPT_S from now."""
    left_at = time.monotonic()
    taught = lab.teacher.wait()
    assert taught.left.wait(PROMPT_S * 3), "the teacher still works for nobody"
    took_s = taught.left_at - left_at
    assert took_s <= PROMPT_S, f"the teacher was told after {took_s:.1f} s"


@check(
    451,
    "a client which leaves amid a stream ends the teacher's work within a second",
    source="openai-node Stream.controller.abort",
)
def leaves_stream(lab: Lab) -> None:
    endless = [step for _ in range(400) for step in (chunk(delta(content="x")), pause(0.02))]
    lab.teacher.play([OPENING, *endless])
    leave_amid_stream(lab, lab.request("POST", CHAT, question(stream=True)))


@check(
    452,
    "a client which leaves before the answer ends the teacher's work within a second",
    source="openai-python: timeout and cancel close the connection",
)
def leaves_early(lab: Lab) -> None:
    lab.teacher.play([hang])
    with lab.connect() as plug:
        plug.send(lab.request("POST", CHAT, question()))
        lab.teacher.wait()
    left_in_time(lab)


@check(
    453,
    "a client which leaves a download ends the teacher's work within a second",
    source="API: Files, content; RFC 9112, 9.6",
)
def leaves_download(lab: Lab) -> None:
    lab.teacher.play([head(200, "content-type: x/y", "transfer-encoding: chunked"), chunk(b"x" * 100), hang])
    with lab.connect() as plug:
        plug.send(lab.request("GET", "/files/file-1/content"))
        plug.head()
    left_in_time(lab)


@check(
    454,
    "a client which leaves amid a silent stream ends the teacher's work within a second",
    source="openai-node Stream.controller.abort",
)
def leaves_silence(lab: Lab) -> None:
    lab.teacher.play([OPENING, chunk(STREAM[0]), hang])
    leave_amid_stream(lab, lab.request("POST", CHAT, question(stream=True)))


@check(
    455,
    "a client which leaves amid its upload ends the teacher's call",
    source="RFC 9112, 8: incomplete requests",
)
def leaves_upload(lab: Lab) -> None:
    with lab.connect() as plug:
        plug.send(lab.request("POST", "/files", b"x" * 10_000)[:-5_000])
        time.sleep(0.05)
    time.sleep(0.1)
    assert not lab.teacher.seen, "half of a file was passed on as a whole one"
