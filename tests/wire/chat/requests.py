"""Builders of chat requests, read from their bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping

from gateway.core import Header, Request
from gateway.wire.chat.request import read_chat
from tests.support.builders import incoming

HELLO = {"role": "user", "content": "hello"}


def read_chat_body(body: bytes, *headers: Header, is_trusted: bool = True) -> Request:
    return read_chat(incoming(id="id", caller="me", body=body, headers=headers, is_trusted=is_trusted))


def chat_request(*messages: Mapping[str, object], **fields: object) -> Request:
    """Return a request with `messages`, "hello" by default, and other fields."""
    body = {"model": "gpt-4o", "messages": messages or (HELLO,), **fields}
    return read_chat_body(json.dumps(body).encode())
