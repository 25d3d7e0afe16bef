"""Quantiles, medians and slopes of measured values, None without any."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import overload


def quantile(values: Sequence[float], share: float) -> float | None:
    """Return the value that `share` of `values` do not exceed."""
    ordered = sorted(values)
    return ordered[math.ceil(share * len(ordered)) - 1] if ordered else None


def median(values: Sequence[float | None]) -> float | None:
    """Return the median of the known values."""
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def gap(one: float | None, other: float | None) -> float | None:
    """Return the amount by which `one` exceeds `other`."""
    return None if one is None or other is None else one - other


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Return the slope of the line that fits (x, y) `points` best."""
    return float(statistics.linear_regression(*zip(*points, strict=True)).slope)


@overload
def rounded(value: float) -> float: ...
@overload
def rounded(value: None) -> None: ...
def rounded(value: float | None) -> float | None:
    """Return `value` to four significant figures."""
    return None if value is None else float(f"{value:.4g}")
