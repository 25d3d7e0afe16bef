"""The evidence that a certificate takes, and the share of delta that each attempt spends."""

from __future__ import annotations

import bisect
import math

from gateway.confidence.binomial import binomial_cdf

MOST_AUDITS = 1_000_000


def delta_for_attempt(delta: float, attempt: int) -> float:
    """Return the share of `delta` for the attempt numbered from 1.

    The shares of infinitely many attempts sum to `delta`, so all certificates ever issued
    hold together with probability >= 1 - delta.
    """
    return delta * 6.0 / (math.pi**2 * attempt**2)


def audits_to_settle(alpha: float, delta: float) -> int:
    """Return the number of held-out rows that lets a good specialist prove itself.

    Good: it errs 0.4 times as often as `alpha` allows. Proven: its third attempt passes with
    probability 0.8 on half of its share of `delta`, as one chain of several must.
    """
    return audits_needed(alpha, delta_for_attempt(delta, 3) / 2, 0.4 * alpha) or 0


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
