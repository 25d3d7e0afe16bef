"""Whole chat requests for the load generator."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from gateway.demo.tickets import Pair


def make_request(body: bytes) -> bytes:
    """Return a whole chat request with this body."""
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
    return b"%bauthorization: Bearer x\r\ncontent-length: %d\r\n\r\n%b" % (head, len(body), body)


def make_questions(pairs: Iterable[Pair], model: str) -> list[bytes]:
    """Return a request to `model` for each of `pairs`."""
    return [make_request(msgspec.json.encode({"model": model, "messages": pair.messages})) for pair in pairs]
