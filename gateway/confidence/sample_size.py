"""The evidence that a certificate takes."""

from __future__ import annotations

import bisect
import math

from gateway.confidence.binomial import binomial_cdf

MOST_AUDITS = 1_000_000
_SETTLED_LEVEL = 1 / (3 * math.pi**2)
"""As a share of delta, 3.4 %."""


def audits_to_settle(alpha: float, delta: float) -> int:
    """Return the number of held-out rows that lets a good specialist prove itself.

    Good: it errs 0.4 times as often as `alpha` allows. Proven: it passes with probability 0.8 at a
    level well below that of any attempt (confidence/spending.py), so that it would pass again.
    """
    return audits_needed(alpha, _SETTLED_LEVEL * delta, 0.4 * alpha) or 0


def power_to_certify(accepted: int, alpha: float, level: float, error_rate: float) -> float:
    """Return the probability that `accepted` audits at true `error_rate` pass the test at `level`."""
    allowed = _most_errors(accepted, alpha, level)
    return binomial_cdf(allowed, accepted, error_rate)


def audits_needed(alpha: float, level: float, error_rate: float, power: float = 0.8) -> int | None:
    """Return the fewest accepted audits that certify with probability >= `power`.

    None if `error_rate` is above `alpha`, or so near to it that a million would not be enough.
    """
    if error_rate >= alpha:
        return None

    def is_enough(errors: int) -> bool:
        # For a given number of allowed errors the power is highest at the fewest audits.
        return binomial_cdf(errors, _fewest_audits(errors, alpha, level), error_rate) >= power

    most = 1
    while not is_enough(most):
        most *= 2
        if most > MOST_AUDITS * alpha:
            return None
    return _fewest_audits(bisect.bisect_left(range(most), True, key=is_enough), alpha, level)


def _fewest_audits(errors: int, alpha: float, level: float) -> int:
    """Return the smallest number of audits that pass at `level` with `errors` of them wrong."""
    high = errors + 1
    while binomial_cdf(errors, high, alpha) > level:
        high *= 2

    def is_passing(audits: int) -> bool:
        return audits > errors and binomial_cdf(errors, audits, alpha) <= level

    return bisect.bisect_left(range(high), True, key=is_passing)


def _most_errors(audits: int, alpha: float, level: float) -> int:
    """Return the largest number of errors in `audits` that passes at `level`; -1 if none does."""
    return bisect.bisect_left(range(audits), True, key=lambda k: binomial_cdf(k, audits, alpha) > level) - 1
