"""The fields of its request that a response repeats, with defaults for those left out."""

from __future__ import annotations

import msgspec

from gateway.wire.body import RawFields, get_field

_TEXT = {"format": {"type": "text"}, "verbosity": "medium"}
_FUNCTION = {"description": None, "parameters": None, "strict": True}

_objects = msgspec.json.Decoder(dict[str, object])
_lists = msgspec.json.Decoder(list[dict[str, object]])


def echo_fields(raw: RawFields) -> dict[str, object]:
    """Return the repeated fields; `raw` are the request's own.

    `store` says what was done, not what was asked for: nothing is stored.
    """
    return {
        "frequency_penalty": 0.0,
        "instructions": _echo(raw, "instructions"),
        "max_output_tokens": _echo(raw, "max_output_tokens"),
        "max_tool_calls": _echo(raw, "max_tool_calls"),
        "moderation": None,
        "parallel_tool_calls": _echo(raw, "parallel_tool_calls", True),
        "presence_penalty": 0.0,
        "previous_response_id": None,
        "prompt_cache_key": _echo(raw, "prompt_cache_key"),
        "prompt_cache_retention": _echo(raw, "prompt_cache_retention"),
        "reasoning": {"effort": None, "summary": None} | _read_object(raw, "reasoning"),
        "safety_identifier": _echo(raw, "safety_identifier"),
        "store": False,
        "temperature": _echo(raw, "temperature", 1.0),
        "text": _TEXT | _read_object(raw, "text"),
        "tool_choice": _echo(raw, "tool_choice", "auto"),
        "tools": [{"type": "function", **_FUNCTION, **tool} for tool in _read_tools(raw)],
        "top_logprobs": 0,
        "top_p": _echo(raw, "top_p", 1.0),
        "truncation": "disabled",
        "user": _echo(raw, "user"),
        "metadata": _echo(raw, "metadata", {}),
    }


def _echo(raw: RawFields, name: str, default: object = None) -> object:
    return raw[name] if get_field(raw, name) else default


def _read_object(raw: RawFields, name: str) -> dict[str, object]:
    """Return an object of the request without its nulls."""
    fields = _objects.decode(get_field(raw, name) or b"{}")
    return {key: value for key, value in fields.items() if value is not None}


def _read_tools(raw: RawFields) -> list[dict[str, object]]:
    return _lists.decode(get_field(raw, "tools") or b"[]")
