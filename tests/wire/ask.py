"""Chat requests as a test needs them."""

from __future__ import annotations

import json
from collections.abc import Mapping

from gateway.core import Header, IncomingRequest, Request
from gateway.wire.chat.request import read_chat

HELLO = {"role": "user", "content": "hello"}


def read(body: bytes, *headers: Header, is_trusted: bool = True) -> Request:
    return read_chat(
        IncomingRequest(
            body=body,
            id="id",
            caller="me",
            is_trusted=is_trusted,
            target=b"/v1/chat/completions",
            headers=headers,
            received_at=1.0,
        )
    )


def ask(*messages: Mapping[str, object], **fields: object) -> Request:
    """Return what is read from a request with `messages` and other fields."""
    return read(json.dumps({"model": "gpt-4o", "messages": messages or (HELLO,), **fields}).encode())
