"""Quantiles, medians and slopes of what was measured, None where nothing was."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import overload


def quantile(values: Sequence[float], share: float) -> float | None:
    """Return the value which `share` of `values` do not exceed."""
    ordered = sorted(values)
    return ordered[math.ceil(share * len(ordered)) - 1] if ordered else None


def median(values: Sequence[float | None]) -> float | None:
    """Return the median of those which are known."""
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def gap(one: float | None, other: float | None) -> float | None:
    """Return by how much `one` is more than `other`."""
    return None if one is None or other is None else one - other


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Return that of the line which fits (x, y) `points` best."""
    return float(statistics.linear_regression(*zip(*points, strict=True)).slope)


@overload
def rounded(value: float) -> float: ...
@overload
def rounded(value: None) -> None: ...
def rounded(value: float | None) -> float | None:
    """Return `value` to four significant figures."""
    return None if value is None else float(f"{value:.4g}")
