"""The check of a JSON text against the schema that a client prescribes."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec

# A longer schema is not a narrow task, and the caches below keep their arguments.
MAX_BYTES = 128 << 10
# Branching references multiply the work: 44 took 250 ms, and a client must not be able to
# stop the event loop. With 32 at most 3 ** (32 / 3) steps are left, 30 ms.
MAX_REFERENCES = 32


class _FunctionSchema(msgspec.Struct, frozen=True):
    name: str = ""
    parameters: dict[str, Any] | None = None


class _ToolSchema(msgspec.Struct, frozen=True):
    type: str = "function"
    function: _FunctionSchema = _FunctionSchema()


class _NamedSchema(msgspec.Struct, frozen=True):
    schema: dict[str, Any] | None = None


class _FormatSchema(msgspec.Struct, frozen=True):
    type: str = ""
    json_schema: _NamedSchema | None = None


class SchemaError(Exception):
    """We cannot judge by this schema; the message says why."""


def is_valid(text: str, schema: bytes) -> bool:
    """Return whether `text` is JSON that follows `schema`.

    Raises SchemaError, and DecodeError if `text` is not JSON.
    """
    value = msgspec.json.decode(text)
    try:
        return bool(_validator(schema).is_valid(value))
    except ValueError as exc:
        raise SchemaError(str(exc)) from exc


def answer_schema(response_format: bytes) -> bytes | None:
    """Return the schema in a request's `response_format`, None if it prescribes none.

    Raises SchemaError beyond MAX_BYTES, and msgspec's ValidationError if it is not such a field.
    """
    return _answer_schema(_check_size(response_format))


def tool_schemas(tools: bytes) -> dict[str, bytes]:
    """Return the schema of the arguments of each function in a request's `tools`, by its name.

    Raises like `answer_schema`.
    """
    return _tool_schemas(_check_size(tools))


@lru_cache(maxsize=64)
def _answer_schema(response_format: bytes) -> bytes | None:
    prescribed = msgspec.json.decode(response_format, type=_FormatSchema)
    named = prescribed.json_schema
    if prescribed.type != "json_schema" or named is None or named.schema is None:
        return None
    return msgspec.json.encode(named.schema)


@lru_cache(maxsize=64)
def _tool_schemas(tools: bytes) -> dict[str, bytes]:
    known = msgspec.json.decode(tools, type=list[_ToolSchema])
    return {
        tool.function.name: msgspec.json.encode(tool.function.parameters or {"type": "object"})
        for tool in known
        if tool.type == "function"
    }


@lru_cache(maxsize=256)
def _validator(schema: bytes) -> Any:
    if schema.lower().count(b'ref":') > MAX_REFERENCES:
        raise SchemaError("too many references")
    # 20 ms of import, needed only where a client prescribes a schema.
    import jsonschema_rs

    try:
        # Offline, or a client's `$ref` would make us call any address and read any file; and with
        # patterns that take linear time.
        return jsonschema_rs.validator_for(
            msgspec.json.decode(schema), offline=True, pattern_options=jsonschema_rs.RegexOptions()
        )
    except (ValueError, jsonschema_rs.ReferencingError) as exc:
        raise SchemaError(str(exc)) from exc


def _check_size(field: bytes) -> bytes:
    if len(field) > MAX_BYTES:
        raise SchemaError(f"{len(field)} bytes, at most {MAX_BYTES} are read")
    return field
