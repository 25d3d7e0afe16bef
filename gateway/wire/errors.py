"""OpenAI's error object, as a body and inside a stream."""

from __future__ import annotations

import msgspec


def error_body(message: str, kind: str, param: str | None = None, code: str | None = None) -> bytes:
    """Return the JSON body of an error in OpenAI's shape; `kind` is its `type`."""
    return msgspec.json.encode(error_value(message, kind, param, code))


def error_value(message: str, kind: str, param: str | None, code: str | None) -> dict[str, object]:
    """Return the same as a value, for an error inside a stream."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
