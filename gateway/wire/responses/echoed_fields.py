"""What a response repeats of its request, with the defaults of whatever was not given."""

from __future__ import annotations

import msgspec

from gateway.wire.body import Fields, given

_TEXT = {"format": {"type": "text"}, "verbosity": "medium"}
_FUNCTION = {"description": None, "parameters": None, "strict": True}

_objects = msgspec.json.Decoder(dict[str, object])
_lists = msgspec.json.Decoder(list[dict[str, object]])


def echo(asked: Fields) -> dict[str, object]:
    """Return these fields; `asked` are the request's own.

    `store` is what was done, not what was asked for: nothing is stored.
    """
    return {
        "frequency_penalty": 0.0,
        "instructions": _echoed(asked, "instructions"),
        "max_output_tokens": _echoed(asked, "max_output_tokens"),
        "max_tool_calls": _echoed(asked, "max_tool_calls"),
        "moderation": None,
        "parallel_tool_calls": _echoed(asked, "parallel_tool_calls", True),
        "presence_penalty": 0.0,
        "previous_response_id": None,
        "prompt_cache_key": _echoed(asked, "prompt_cache_key"),
        "prompt_cache_retention": _echoed(asked, "prompt_cache_retention"),
        "reasoning": {"effort": None, "summary": None} | _object(asked, "reasoning"),
        "safety_identifier": _echoed(asked, "safety_identifier"),
        "store": False,
        "temperature": _echoed(asked, "temperature", 1.0),
        "text": _TEXT | _object(asked, "text"),
        "tool_choice": _echoed(asked, "tool_choice", "auto"),
        "tools": [{"type": "function", **_FUNCTION, **tool} for tool in _tools(asked)],
        "top_logprobs": 0,
        "top_p": _echoed(asked, "top_p", 1.0),
        "truncation": "disabled",
        "user": _echoed(asked, "user"),
        "metadata": _echoed(asked, "metadata", {}),
    }


def _echoed(asked: Fields, name: str, default: object = None) -> object:
    return asked[name] if given(asked, name) else default


def _object(asked: Fields, name: str) -> dict[str, object]:
    """Return what was given in an object of a request, without its nulls."""
    fields = _objects.decode(given(asked, name) or b"{}")
    return {key: value for key, value in fields.items() if value is not None}


def _tools(asked: Fields) -> list[dict[str, object]]:
    return _lists.decode(given(asked, "tools") or b"[]")
