from __future__ import annotations

import pytest

from gateway.confidence.binomial import binomial_cdf
from gateway.confidence.sample_size import (
    audits_needed,
    audits_to_settle,
    power_to_certify,
)


def brute_force_power(accepted: int, alpha: float, level: float, error_rate: float) -> float:
    passing = [k for k in range(accepted) if binomial_cdf(k, accepted, alpha) <= level]
    return binomial_cdf(max(passing), accepted, error_rate) if passing else 0.0


@pytest.mark.parametrize("level", [0.1, 0.025])
@pytest.mark.parametrize(("alpha", "error_rate"), [(0.05, 0.0), (0.05, 0.0125), (0.1, 0.05), (0.02, 0.002)])
def test_audits_needed_is_the_first_number_with_the_power(
    alpha: float, error_rate: float, level: float
) -> None:
    needed = audits_needed(alpha, level, error_rate, power=0.8)

    powers = (brute_force_power(n, alpha, level, error_rate) for n in range(1, 2000))
    assert needed == next(n for n, power in enumerate(powers, start=1) if power >= 0.8)


def test_the_published_numbers_come_out() -> None:
    """alpha 5 %, delta 10 %: 45 audits without an error; alpha 2 %: 114."""
    assert audits_needed(0.05, 0.1, 0.0) == 45
    assert audits_needed(0.02, 0.1, 0.0) == 114


@pytest.mark.parametrize("error_rate", [0.02, 0.03, 0.019999])
def test_a_specialist_no_better_than_alpha_never_has_enough(error_rate: float) -> None:
    assert audits_needed(0.02, 0.1, error_rate) is None


def test_power_equals_brute_force() -> None:
    for accepted in (0, 1, 44, 45, 100, 311):
        expected = brute_force_power(accepted, 0.05, 0.1, 0.02)
        assert power_to_certify(accepted, 0.05, 0.1, 0.02) == pytest.approx(expected)


def test_power_at_the_null_is_at_most_the_level() -> None:
    for accepted in range(1, 400):
        assert power_to_certify(accepted, 0.05, 0.1, 0.05) <= 0.1


def test_settling_takes_more_evidence_the_stricter_the_promise() -> None:
    assert audits_to_settle(0.02, 0.1) > 2 * audits_to_settle(0.05, 0.1) > 0
    assert audits_to_settle(0.05, 0.01) > audits_to_settle(0.05, 0.1)
