"""The same answer except that numbers may differ a little: `number:0.01` allows 1 % of the teacher's."""

from __future__ import annotations

import math
import re

import msgspec

from gateway.confidence.agreement import Measure, canonical_text
from gateway.errors import ConfigError

IS_GRADED = False

_NUMBER = re.compile(r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][-+]?\d+)?")
# Digits inside a word are part of a name: v2 and v3 differ.
_IN_WORD = re.compile(r"[^\W\d]")
_INTEGER = re.compile(r"[-+]?\d{1,300}")
"""Longer ones are beyond every float."""


def create(option: str) -> Measure:
    """Return the measure; `option` is the relative tolerance, 0 if empty. Raises ConfigError."""
    tolerance = _read_tolerance(option)

    def measure(teacher: str, draft: str) -> float:
        expected, found = canonical_text(teacher), canonical_text(draft)
        try:
            return 0.0 if _are_near(_read_json(expected), _read_json(found), tolerance) else 1.0
        except RecursionError:
            return 1.0

    return measure


def _read_tolerance(option: str) -> float:
    try:
        tolerance = float(option or 0.0)
    except ValueError:
        tolerance = -1.0
    if not 0.0 <= tolerance < 1.0:
        raise ConfigError(f"the tolerance is a share from 0 to below 1, as in number:0.01, not {option!r}")
    return tolerance


def _read_json(canonical: str) -> object:
    """Return the value of an object or a list, else the text itself."""
    if canonical[:1] not in ("{", "["):
        return canonical
    try:
        return msgspec.json.decode(canonical)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return canonical


def _are_near(expected: object, found: object, tolerance: float) -> bool:
    """Return whether JSON values are the same but for numbers: a comma between two is no part of them."""
    if _is_number(expected) and _is_number(found):
        return _is_close(expected, found, tolerance)  # type: ignore[arg-type]
    if type(expected) is not type(found):
        return False
    if isinstance(expected, str) and isinstance(found, str):
        return _are_near_texts(expected, found, tolerance)
    if isinstance(expected, list) and isinstance(found, list):
        pairs = zip(expected, found, strict=False)
        return len(expected) == len(found) and all(_are_near(one, other, tolerance) for one, other in pairs)
    if isinstance(expected, dict) and isinstance(found, dict):
        return expected.keys() == found.keys() and all(
            _are_near(value, found[key], tolerance) for key, value in expected.items()
        )
    return expected == found


def _are_near_texts(expected: str, found: str, tolerance: float) -> bool:
    around, numbers = _split_numbers(expected)
    found_around, found_numbers = _split_numbers(found)
    return around == found_around and all(
        _is_close(one, other, tolerance) for one, other in zip(numbers, found_numbers, strict=True)
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_close(expected: float, found: float, tolerance: float) -> bool:
    try:
        # Not math.isclose: as floats, integers of 17 digits that differ in the last one are the same.
        return expected == found or abs(expected - found) <= tolerance * abs(expected)
    except OverflowError:  # an integer beyond every float
        return False


def _split_numbers(text: str) -> tuple[list[str], list[float]]:
    """Return the text around the numbers of `text`, and the numbers."""
    around, numbers, end = [], [], 0
    for match in _NUMBER.finditer(text):
        before = text[match.start() - 1 : match.start()]
        value = _read_number(match[0].replace(",", ""))
        if _IN_WORD.match(before) or not math.isfinite(value):
            continue
        around.append(text[end : match.start()])
        numbers.append(value)
        end = match.end()
    return [*around, text[end:]], numbers


def _read_number(digits: str) -> float:
    return int(digits) if _INTEGER.fullmatch(digits) else float(digits)
