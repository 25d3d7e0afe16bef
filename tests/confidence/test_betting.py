from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.confidence.betting import betting_p_value, spread_evenly
from gateway.confidence.binomial import binomial_cdf

ROUNDING = 1 + 1e-9

losses_seen = st.lists(st.floats(0.0, 1.0), max_size=60)
risks = st.floats(0.001, 0.9)
levels = st.floats(1e-6, 0.5)


@st.composite
def distributions(draw: st.DrawFn) -> list[tuple[float, float]]:
    """Return two or three losses with their probabilities."""
    values = draw(st.lists(st.floats(0.0, 1.0), min_size=2, max_size=3, unique=True))
    weights = draw(st.lists(st.floats(0.01, 1.0), min_size=len(values), max_size=len(values)))
    return [(value, weight / sum(weights)) for value, weight in zip(values, weights, strict=True)]


def chances_of_p(
    distribution: Sequence[tuple[float, float]], audits: int, alpha: float, level: float
) -> list[tuple[float, float]]:
    """Return the p-value of every possible sample with its probability, the smallest p first."""
    return sorted(
        (
            betting_p_value([loss for loss, _ in sample], alpha, level),
            math.prod(chance for _, chance in sample),
        )
        for sample in itertools.product(distribution, repeat=audits)
    )


@settings(max_examples=60, deadline=None)
@given(distributions(), st.integers(1, 6), st.floats(0.05, 1.0), levels)
def test_at_too_high_a_risk_a_small_p_is_no_likelier_than_it_says(
    distribution: list[tuple[float, float]], audits: int, share: float, level: float
) -> None:
    """At every level, whichever was aimed at; every sample is enumerated."""
    alpha = min(0.9, share * sum(loss * chance for loss, chance in distribution))
    if alpha < 1e-3:
        return
    so_far = 0.0
    for p, chance in chances_of_p(distribution, audits, alpha, level):
        so_far += chance
        assert so_far <= p * ROUNDING or p == 1.0


@given(losses_seen, risks, levels)
def test_a_p_value_lies_between_the_level_and_one(losses: list[float], alpha: float, level: float) -> None:
    assert level <= betting_p_value(losses, alpha, level) <= 1.0


@given(st.integers(0, 200), risks, levels)
def test_another_audit_without_loss_is_never_evidence_against(
    audits: int, alpha: float, level: float
) -> None:
    fewer, more = (betting_p_value([0.0] * count, alpha, level) for count in (audits, audits + 1))
    assert more <= fewer * ROUNDING


@given(st.floats(0.0, 1.0), st.floats(0.0, 1.0), st.integers(1, 100), risks, levels)
def test_smaller_losses_throughout_are_never_evidence_against(
    one: float, other: float, audits: int, alpha: float, level: float
) -> None:
    smaller, larger = (
        betting_p_value([loss] * audits, alpha, level) for loss in (min(one, other), max(one, other))
    )
    assert smaller <= larger * ROUNDING


@pytest.mark.parametrize(("alpha", "level", "audits"), [(0.05, 0.1, 45), (0.05, 0.025, 72), (0.02, 0.1, 114)])
def test_without_a_loss_it_takes_as_many_audits_as_the_exact_test(
    alpha: float, level: float, audits: int
) -> None:
    assert betting_p_value([0.0] * audits, alpha, level) == level
    assert betting_p_value([0.0] * (audits - 1), alpha, level) > level
    assert binomial_cdf(0, audits, alpha) <= level < binomial_cdf(0, audits - 1, alpha)


def test_losses_of_the_risk_allowed_win_nothing() -> None:
    assert betting_p_value([0.05] * 500, 0.05, 0.1) == 1.0
    assert betting_p_value([], 0.05, 0.1) == 1.0


def test_small_losses_prove_more_than_whole_ones_of_the_same_mean() -> None:
    """Eight whole losses in 300 audits, or forty of a fifth."""
    whole = [float(place % 37 == 18) for place in range(300)]
    fifths = [0.2 * (place * 2 % 15 < 2) for place in range(300)]
    assert sum(whole) == pytest.approx(sum(fifths)) == pytest.approx(8.0)
    assert betting_p_value(fifths, 0.05, 0.01) <= 0.01 < betting_p_value(whole, 0.05, 0.01)


@given(st.integers(0, 400))
def test_spreading_keeps_every_place_once(count: int) -> None:
    assert sorted(spread_evenly(count)) == list(range(count))


@given(st.integers(1, 2_000), st.data())
def test_every_beginning_is_spread_over_all_places(count: int, data: st.DataObject) -> None:
    """Of any beginning, a half has come from either half of the time, to within a few."""
    first = data.draw(st.integers(1, count))
    early = sum(place < count / 2 for place in spread_evenly(count)[:first])
    assert abs(early - first / 2) <= 5


def test_a_quiet_beginning_is_no_proof() -> None:
    """Half the time without loss, then twice the loss allowed: in order of time it would always pass."""
    rng, passed, draws = random.Random(3), 0, 300
    for _ in range(draws):
        timed = [0.0] * 150 + [rng.choices([0.0, 0.5, 1.0], [0.86, 0.08, 0.06])[0] for _ in range(150)]
        assert betting_p_value(timed, 0.05, 0.1) <= 0.1
        passed += betting_p_value([timed[place] for place in spread_evenly(300)], 0.05, 0.1) <= 0.1
    assert passed / draws <= 0.1 + 2 * math.sqrt(0.1 * 0.9 / draws)
