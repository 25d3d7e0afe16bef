"""The headers that every answer carries: the request's id, the date, and those of a JSON answer."""

from __future__ import annotations

import random
import time
from email.utils import formatdate
from functools import lru_cache

from gateway.core import Answer, Header

REQUEST_ID = b"x-stepdown-request-id"


def new_request_id() -> str:
    """Return 32 hex digits for a new request; those of later milliseconds are greater.

    As in a UUID of version 7, the time comes first: an index of ids then grows at its end. Unique, not
    secret: seeded once per process, where the system's own randomness costs a system call.
    """
    return f"{time.time_ns() // 1_000_000 << 80 | random.getrandbits(80):032x}"


def with_standard_headers(headers: list[Header], request_id: str) -> list[Header]:
    """Return `headers`, which must not hold our request id yet, with it and with a date if they have none.

    The server adds neither: the teacher's date would then stand there twice.
    """
    date = () if b"date" in dict(headers) else ((b"date", _format_date(int(time.time()))),)
    return [*headers, (REQUEST_ID, request_id.encode()), *date]


def json_headers(body: bytes, request_id: str) -> list[Header]:
    """Return the headers of a JSON answer of our own."""
    return [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"x-request-id", request_id.encode()),
    ]


def with_labels(answer: Answer, *, sees_details: bool, show_labels: bool) -> tuple[Header, ...]:
    """Return the headers of `answer` with the labels of its decision, if they are shown."""
    if not show_labels:
        return answer.headers
    return answer.headers + (answer.details if sees_details else answer.labels)


def refusal_labels(reason: str) -> tuple[Header, ...]:
    """Return the labels of an error of ours."""
    return (
        (b"x-stepdown-decision", b"refused"),
        (b"x-stepdown-reason", reason.encode("latin-1", "replace")),
    )


def is_open_stream(status: int, headers: list[Header]) -> bool:
    """Return whether our own event can follow: the stream is not compressed and has no announced length."""
    if status != 200:
        return False
    is_stream = False
    for name, value in headers:
        if name in (b"content-length", b"content-encoding"):
            return False
        is_stream = is_stream or (name == b"content-type" and value.startswith(b"text/event-stream"))
    return is_stream


@lru_cache(maxsize=1)
def _format_date(now: int) -> bytes:
    return formatdate(now, usegmt=True).encode()
