"""The usage object of any answer of OpenAI's APIs, read field by field: a wrong one loses only itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.core import Usage

# More tokens than this in one answer is nonsense of a broken teacher, not a bill.
MOST_TOKENS = 100_000_000
_MOST_DIGITS = 9

_PROMPT = ("prompt_tokens", "input_tokens")
_COMPLETION = ("completion_tokens", "output_tokens")
# "token" in the singular: transcriptions and the realtime API.
_PROMPT_DETAILS = ("prompt_tokens_details", "input_tokens_details", "input_token_details")
_COMPLETION_DETAILS = ("completion_tokens_details", "output_tokens_details", "output_token_details")

JsonObject = Mapping[str, Any]
_NOTHING: JsonObject = {}


def read_usage(usage: object) -> Usage | None:
    """Return what a decoded usage object says; None if it is none or has no readable number.

    `is_estimated` says that prompt or completion is missing, and 0. What the total has beyond prompt and
    completion was written, too (xAI's reasoning).
    """
    if not isinstance(usage, Mapping):
        return None
    prompt, completion, total = (
        _first(usage, _PROMPT),
        _first(usage, _COMPLETION),
        _count(usage, "total_tokens"),
    )
    seconds = _seconds(usage)
    if prompt is None and completion is None and not seconds and total is None:
        return None
    is_partial = total is None and not seconds and (prompt is None or completion is None)
    if prompt is None:
        prompt = max(0, (total or 0) - (completion or 0))
    else:
        completion = max(completion or 0, (total or 0) - prompt)
    incoming = _mapping(usage, _PROMPT_DETAILS)
    outgoing = _mapping(usage, _COMPLETION_DETAILS)
    cached, written = _cached(usage, incoming), _written(usage, incoming)
    # Anthropic counts both outside its `input_tokens`, OpenAI inside.
    if (cached or written) and (cached + written > prompt or _is_anthropic(usage)):
        prompt += cached + written
    of_cached = _mapping(incoming, ("cached_tokens_details",))
    return Usage(
        prompt,
        completion or 0,
        cached,
        is_partial,
        cache_write_tokens=written,
        reasoning_tokens=_count(outgoing, "reasoning_tokens") or 0,
        audio_input_tokens=_count(incoming, "audio_tokens") or 0,
        audio_output_tokens=_count(outgoing, "audio_tokens") or 0,
        cached_audio_tokens=_count(of_cached, "audio_tokens") or 0,
        image_input_tokens=_count(incoming, "image_tokens") or 0,
        image_output_tokens=_count(outgoing, "image_tokens") or 0,
        cached_image_tokens=_count(of_cached, "image_tokens") or 0,
        audio_seconds=seconds,
    )


def count_tool_calls(items: object) -> dict[str, int]:
    """Return the tool calls with a fee of their own in a response's `output`, by Usage's names."""
    if not isinstance(items, list):
        return {}
    searches = files = 0
    containers: set[str] = set()
    for item in items:
        if not isinstance(item, dict):
            continue
        kind = item.get("type")
        if kind == "web_search_call":
            searches += _is_search(item.get("action"))
        elif kind == "file_search_call":
            files += 1
        elif kind == "code_interpreter_call":
            containers.add(str(item.get("container_id")))
    found = {"web_searches": searches, "file_searches": files, "containers": len(containers)}
    return {name: count for name, count in found.items() if count}


def _is_anthropic(usage: JsonObject) -> bool:
    return "prompt_tokens" not in usage and (
        "cache_read_input_tokens" in usage or "cache_creation_input_tokens" in usage
    )


def _cached(usage: JsonObject, details: JsonObject) -> int:
    """Return the tokens read from a cache, as OpenAI, DeepSeek, Anthropic or Moonshot name them."""
    found = _count(details, "cached_tokens")
    if not found:
        names = ("prompt_cache_hit_tokens", "cache_read_input_tokens", "cached_tokens")
        found = next((count for name in names if (count := _count(usage, name))), 0)
    return found


def _written(usage: JsonObject, details: JsonObject) -> int:
    names = ("cache_write_tokens", "cache_creation_tokens")
    found = next((count for name in names if (count := _count(details, name))), None)
    return found or _count(usage, "cache_creation_input_tokens") or 0


def _seconds(usage: JsonObject) -> float:
    seconds = usage.get("seconds")
    if not isinstance(seconds, int | float) or isinstance(seconds, bool):
        return 0.0
    return float(seconds) if 0 <= seconds <= MOST_TOKENS else 0.0


def _is_search(action: object) -> bool:
    """Whether the action of a web search call has a fee: opening a page and finding in it have none."""
    return not isinstance(action, dict) or action.get("type") in (None, "search")


def _mapping(within: JsonObject, names: tuple[str, ...]) -> JsonObject:
    for name in names:
        found = within.get(name)
        if isinstance(found, Mapping):
            return found
    return _NOTHING


def _first(within: JsonObject, names: tuple[str, ...]) -> int | None:
    for name in names:
        if (count := _count(within, name)) is not None:
            return count
    return None


def _count(within: JsonObject, name: str) -> int | None:
    """Return the number of tokens under `name`; None if there is none, or one that cannot be right."""
    value = within.get(name)
    if type(value) is str:
        # `1000.0` is what a float becomes in another language.
        value = value.removesuffix(".0")
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is str and value.isascii() and value.isdigit() and len(value) <= _MOST_DIGITS:
        value = int(value)
    return value if type(value) is int and 0 <= value <= MOST_TOKENS else None
