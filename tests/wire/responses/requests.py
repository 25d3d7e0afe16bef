"""Builders of requests of the Responses API, read from their bytes."""

from __future__ import annotations

import json
from typing import Any

from gateway.core import Header, Request
from gateway.wire.responses.request import read_responses
from tests.support.builders import incoming

FIND: dict[str, Any] = {
    "type": "function",
    "name": "find",
    "description": "Finds a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    "strict": True,
}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"label": {"type": "string"}},
    "required": ["label"],
}
FORMAT: dict[str, Any] = {"type": "json_schema", "name": "label", "schema": SCHEMA, "strict": True}


def read_responses_body(body: bytes, *headers: Header) -> Request:
    return read_responses(incoming(id="id", body=body, headers=headers, target=b"/v1/responses"))


def responses_request(*headers: Header, **fields: object) -> Request:
    """Return a request with the input "hello" and other fields."""
    return read_responses_body(json.dumps({"model": "gpt-4o", "input": "hello", **fields}).encode(), *headers)
