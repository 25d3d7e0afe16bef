"""The same answer except that numbers may differ a little: `number:0.01` allows 1 % of the teacher's."""

from __future__ import annotations

import math
import re

from gateway.confidence.agreement import Measure, canonical_text
from gateway.errors import ConfigError

IS_GRADED = False

_NUMBER = re.compile(r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][-+]?\d+)?")
# Digits inside a word are part of a name: v2 and v3 differ.
_IN_WORD = re.compile(r"[^\W\d]")


def create(option: str) -> Measure:
    """Return the measure; `option` is the relative tolerance, 0 if empty. Raises ConfigError."""
    tolerance = _read_tolerance(option)

    def measure(teacher: str, draft: str) -> float:
        expected, expected_numbers = _split_numbers(teacher)
        found, found_numbers = _split_numbers(draft)
        is_same = expected == found and all(
            math.isclose(one, other, rel_tol=0.0, abs_tol=tolerance * abs(one))
            for one, other in zip(expected_numbers, found_numbers, strict=True)
        )
        return 0.0 if is_same else 1.0

    return measure


def _read_tolerance(option: str) -> float:
    try:
        tolerance = float(option or 0.0)
    except ValueError:
        tolerance = -1.0
    if not 0.0 <= tolerance < 1.0:
        raise ConfigError(f"the tolerance is a share from 0 to below 1, as in number:0.01, not {option!r}")
    return tolerance


def _split_numbers(text: str) -> tuple[list[str], list[float]]:
    """Return the text around the numbers of `text`, and the numbers."""
    around, numbers, end = [], [], 0
    canonical = canonical_text(text)
    for match in _NUMBER.finditer(canonical):
        before = canonical[match.start() - 1 : match.start()]
        value = float(match[0].replace(",", ""))
        if _IN_WORD.match(before) or not math.isfinite(value):
            continue
        around.append(canonical[end : match.start()])
        numbers.append(value)
        end = match.end()
    return [*around, canonical[end:]], numbers
