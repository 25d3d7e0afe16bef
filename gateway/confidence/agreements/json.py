"""The same JSON value, also in a code fence or with fields of null that the other leaves out."""

from __future__ import annotations

import re

import msgspec

from gateway.confidence.agreement import Measure, canonical_text, refuse_option

IS_GRADED = False

_FENCED = re.compile(r"\s*```[a-zA-Z0-9]*\n(.*?)```\s*", re.DOTALL)


def create(option: str) -> Measure:
    """Return the measure, for which other text must be the same. Raises ConfigError if there is an option."""
    refuse_option(option)
    return _measure


def _measure(teacher: str, draft: str) -> float:
    return 0.0 if _read_value(teacher) == _read_value(draft) else 1.0


def _read_value(text: str) -> str:
    """Return the canonical form of the JSON value in `text`, or of `text` itself."""
    fenced = _FENCED.fullmatch(text)
    inside = canonical_text(fenced[1] if fenced else text)
    try:
        value = _drop_nulls(msgspec.json.decode(inside))
        return msgspec.json.encode(value, order="deterministic").decode()
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return inside


def _drop_nulls(value: object) -> object:
    if isinstance(value, list):
        return [_drop_nulls(item) for item in value]
    if isinstance(value, dict):
        return {key: _drop_nulls(item) for key, item in value.items() if item is not None}
    return value
