"""Lists and records by their items: the loss is 1 - F1, the harmonic mean of precision and recall.

Items of a JSON value are its leaves with the keys that lead to them, in any order; of other text, its
parts between commas, semicolons and ends of lines. Source: van Rijsbergen 1979, "Information Retrieval".
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from gateway.confidence.agreement import Measure, canonical_text, refuse_option

IS_GRADED = True

_Item = tuple[str, ...]

_SEPARATORS = re.compile(r"[,;\n]")


def create(option: str) -> Measure:
    """Return the measure. Raises ConfigError if there is an option."""
    refuse_option(option)
    return _measure


def _measure(teacher: str, draft: str) -> float:
    expected, found = _read_items(teacher), _read_items(draft)
    if not expected and not found:
        return 0.0
    return 1.0 - 2.0 * len(expected & found) / (len(expected) + len(found))


def _read_items(text: str) -> set[_Item]:
    canonical = canonical_text(text)
    if canonical[:1] in ("{", "["):
        try:
            return set(_leaves(msgspec.json.decode(canonical), ()))
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
            pass  # it only looked like JSON
    parts = (canonical_text(part) for part in _SEPARATORS.split(text))
    return {("", part) for part in parts if part}


def _leaves(value: object, keys: _Item) -> Iterator[_Item]:
    """Yield each leaf below `value`, which `keys` lead to; an empty object or list has none."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, (*keys, key))
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item, keys)
    else:
        yield (*keys, msgspec.json.encode(value).decode())
