"""The items of an answer that is a list or a record: what such answers are compared and counted by."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from gateway.confidence.agreement import canonical_text

Item = tuple[str, ...]

_LISTED = "[]"
_SEPARATORS = re.compile(r"[,;\n]")


def read_items(text: str) -> set[Item]:
    """Return the items of `text`.

    Of a JSON value they are its leaves with the keys that lead to them, in any order. An object or list
    inside a list is one item as a whole: its parts belong together. Of other text they are its parts
    between commas, semicolons and ends of lines.
    """
    canonical = canonical_text(text)
    if canonical[:1] in ("{", "["):
        try:
            return set(_leaves(msgspec.json.decode(canonical), ()))
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
            pass  # it only looked like JSON
    parts = (canonical_text(part) for part in _SEPARATORS.split(text))
    return {("", part) for part in parts if part}


def _leaves(value: object, keys: Item) -> Iterator[Item]:
    """Yield each leaf below `value`, which `keys` lead to; an empty object or list has none."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, (*keys, key))
    elif isinstance(value, list):
        # A list of one is not its element: an app that goes through a list cannot take a string.
        yield from ((*keys, _LISTED, _encode(item)) for item in value)
    else:
        yield (*keys, _encode(value))


def _encode(value: object) -> str:
    return msgspec.json.encode(value, order="deterministic").decode()
