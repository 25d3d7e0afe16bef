from __future__ import annotations

from fractions import Fraction
from math import comb

import pytest

from gateway.confidence.binomial import binomial_cdf, binomial_interval


def exact(successes: int, trials: int, probability: float) -> float:
    p = Fraction(probability)
    terms = (comb(trials, k) * p**k * (1 - p) ** (trials - k) for k in range(successes + 1))
    return float(sum(terms))


@pytest.mark.parametrize("probability", [0.001, 0.02, 0.05, 0.5, 0.9])
@pytest.mark.parametrize("trials", [1, 2, 7, 60, 300])
def test_the_tail_equals_the_sum_of_fractions(trials: int, probability: float) -> None:
    for successes in {0, 1, trials // 20, trials // 2, trials - 1}:
        expected = exact(successes, trials, probability)
        assert binomial_cdf(successes, trials, probability) == pytest.approx(expected, rel=1e-9, abs=1e-15)


def test_the_tail_does_not_underflow_at_a_million_trials() -> None:
    """Half a standard deviation below the mean: the normal approximation is good to 0.1 %."""
    assert binomial_cdf(19_930, 1_000_000, 0.02) == pytest.approx(0.3097, abs=2e-3)


def test_the_edges_are_certain() -> None:
    assert binomial_cdf(-1, 10, 0.5) == 0.0
    assert binomial_cdf(10, 10, 0.5) == 1.0
    assert binomial_cdf(3, 10, 0.0) == 1.0
    assert binomial_cdf(3, 10, 1.0) == 0.0
    assert binomial_cdf(0, 0, 0.5) == 1.0


@pytest.mark.parametrize(
    ("successes", "trials", "interval"),
    [(0, 100, (0.0, 0.0362)), (5, 100, (0.0164, 0.1128)), (100, 100, (0.9638, 1.0))],
)
def test_the_interval_is_that_of_the_tables(
    successes: int, trials: int, interval: tuple[float, float]
) -> None:
    assert binomial_interval(successes, trials) == pytest.approx(interval, abs=1e-4)
