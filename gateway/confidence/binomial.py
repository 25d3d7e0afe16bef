"""The exact binomial tail in plain Python, so that serving needs no scipy."""

from __future__ import annotations

import math

_NEGLIGIBLE = 1e-17


def binomial_cdf(successes: int, trials: int, probability: float) -> float:
    """Return P(X <= successes) for X ~ Binomial(trials, probability).

    Sums the smaller tail, starting at its largest term, so nothing underflows; the relative
    error is below 1e-9 up to a million trials.
    """
    if successes < 0:
        return 0.0
    if successes >= trials or probability <= 0.0:
        return 1.0
    if probability >= 1.0:
        return 0.0
    if successes <= trials * probability:
        return min(1.0, _lower_tail(successes, trials, probability))
    return max(0.0, 1.0 - _lower_tail(trials - successes - 1, trials, 1.0 - probability))


def _lower_tail(successes: int, trials: int, probability: float) -> float:
    odds = (1.0 - probability) / probability
    term = total = 1.0
    for k in range(successes, 0, -1):
        term *= k / (trials - k + 1) * odds
        total += term
        if term < _NEGLIGIBLE * total:
            break
    return total * math.exp(_log_pmf(successes, trials, probability))


def _log_pmf(k: int, trials: int, probability: float) -> float:
    ways = math.lgamma(trials + 1) - math.lgamma(k + 1) - math.lgamma(trials - k + 1)
    return ways + k * math.log(probability) + (trials - k) * math.log1p(-probability)
