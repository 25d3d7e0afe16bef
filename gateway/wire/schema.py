"""Whether a JSON text follows the schema which a client prescribed."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec

# Whoever prescribes more has no narrow task, and the caches below keep what they were given.
MAX_BYTES = 128 << 10
# References which branch multiply the work: 44 took 250 ms, and a client must not be able to
# stop the event loop. At most 3 ** (32 / 3) steps are left, 30 ms.
MAX_REFERENCES = 32


class _Function(msgspec.Struct, frozen=True):
    name: str = ""
    parameters: dict[str, Any] | None = None


class _Tool(msgspec.Struct, frozen=True):
    type: str = "function"
    function: _Function = _Function()


class _Named(msgspec.Struct, frozen=True):
    schema: dict[str, Any] | None = None


class _Format(msgspec.Struct, frozen=True):
    type: str = ""
    json_schema: _Named | None = None


class SchemaError(Exception):
    """The schema is none which we can judge by."""


def is_valid(text: str, schema: bytes) -> bool:
    """Return whether `text` is JSON which follows `schema`.

    Raises SchemaError, and DecodeError when `text` is no JSON.
    """
    value = msgspec.json.decode(text)
    try:
        return bool(_validator(schema).is_valid(value))
    except ValueError as fault:
        raise SchemaError(str(fault)) from fault


def answer_schema(response_format: bytes) -> bytes | None:
    """Return the schema in a request's `response_format`, None where it prescribes none.

    Raises SchemaError beyond MAX_BYTES, and msgspec's ValidationError for what is no such field.
    """
    return _answer_schema(_bounded(response_format))


def tool_schemas(tools: bytes) -> dict[str, bytes]:
    """Return the schema of the arguments by the name of each function in a request's `tools`.

    Raises like `answer_schema`.
    """
    return _tool_schemas(_bounded(tools))


@lru_cache(maxsize=64)
def _answer_schema(response_format: bytes) -> bytes | None:
    asked = msgspec.json.decode(response_format, type=_Format)
    named = asked.json_schema
    if asked.type != "json_schema" or named is None or named.schema is None:
        return None
    return msgspec.json.encode(named.schema)


@lru_cache(maxsize=64)
def _tool_schemas(tools: bytes) -> dict[str, bytes]:
    known = msgspec.json.decode(tools, type=list[_Tool])
    return {
        tool.function.name: msgspec.json.encode(tool.function.parameters or {"type": "object"})
        for tool in known
        if tool.type == "function"
    }


@lru_cache(maxsize=256)
def _validator(schema: bytes) -> Any:
    if schema.lower().count(b'ref":') > MAX_REFERENCES:
        raise SchemaError("too many references")
    # 20 ms of import, for those only who prescribe a schema.
    import jsonschema_rs

    try:
        # Offline, or a client's `$ref` would have us call any address and read any file; and with
        # patterns which take linear time.
        return jsonschema_rs.validator_for(
            msgspec.json.decode(schema), offline=True, pattern_options=jsonschema_rs.RegexOptions()
        )
    except (ValueError, jsonschema_rs.ReferencingError) as fault:
        raise SchemaError(str(fault)) from fault


def _bounded(field: bytes) -> bytes:
    if len(field) > MAX_BYTES:
        raise SchemaError(f"{len(field)} bytes, at most {MAX_BYTES} are read")
    return field
