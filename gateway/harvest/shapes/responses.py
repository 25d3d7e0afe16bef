"""Answers of OpenAI's Responses API, with what was asked: `request` beside `response`, or one object.

The object is a stored response (GET /v1/responses/{id}) to which its `input` was added: the API gives that
back elsewhere. Its model is the one that answered ("gpt-4o-2024-08-06"), not the one that the app asked for,
and its tools and format are written as the teacher understood them.
"""

from __future__ import annotations

from typing import Any

from gateway.harvest.conversations import Conversation, RecordError, parse_nested, read_response

_DEFAULTS: dict[str, Any] = {
    "tools": [],
    "tool_choice": "auto",
    "text": {"format": {"type": "text"}},
    "store": True,
}
"""What a response says of itself where the app said nothing."""


def read_record(record: dict[str, Any]) -> list[Conversation] | None:
    """See Shape."""
    request, response = parse_nested(record.get("request")), parse_nested(record.get("response"))
    if isinstance(request, dict) and isinstance(response, dict) and "output" in response:
        return [read_response(request, response)]
    output = parse_nested(record.get("output"))
    if not isinstance(output, list):
        return None
    if not record.get("input"):
        if record.get("object") == "response":
            raise RecordError(
                "no `input`: a stored response does not hold what was asked, add its input items"
            )
        return None
    is_stored = record.get("object") == "response"
    fields = {name: parse_nested(value) for name, value in record.items() if value not in (None, "")}
    if is_stored:
        fields = {name: value for name, value in fields.items() if value != _DEFAULTS.get(name)}
        fields.pop("model", None)
    return [read_response(fields, {**record, "output": output}, is_echo=is_stored)]
