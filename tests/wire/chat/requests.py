"""Builders of chat requests, read from their bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping

from gateway.core import Header, IncomingRequest, Request
from gateway.wire.chat.request import read_chat

HELLO = {"role": "user", "content": "hello"}


def read_chat_body(body: bytes, *headers: Header, is_trusted: bool = True) -> Request:
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


def chat_request(*messages: Mapping[str, object], **fields: object) -> Request:
    """Return a request with `messages`, "hello" by default, and other fields."""
    body = {"model": "gpt-4o", "messages": messages or (HELLO,), **fields}
    return read_chat_body(json.dumps(body).encode())
