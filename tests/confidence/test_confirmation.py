"""One hypothesis, looked at as audits come, is confirmed falsely no more often than delta says."""

from __future__ import annotations

import random

import pytest

from gateway.confidence.confirmation import (
    GOOD_SHARE,
    audits_to_confirm,
    expected_audits,
    is_confirmed,
    is_refuted,
)

ALPHA, DELTA = 0.05, 0.1
MOST = 400


def look_at_each(chance: random.Random, error_rate: float, alpha: float) -> str:
    """Return what becomes of a hypothesis that is looked at after every audit."""
    wrong = 0
    for accepted in range(1, MOST):
        wrong += chance.random() < error_rate
        if is_confirmed(accepted, wrong, alpha, DELTA):
            return "confirmed"
        if is_refuted(accepted, wrong, alpha):
            return "refuted"
    return "open"


@pytest.mark.parametrize("alpha", [0.02, 0.05, 0.1])
def test_what_errs_as_often_as_alpha_is_confirmed_at_most_as_often_as_delta(alpha: float) -> None:
    """Delta bounds all looks together: the exact probability that any of 3,000 confirms it."""
    confirmed, chance_of = 0.0, {0: 1.0}
    for accepted in range(1, 3_000):
        came: dict[int, float] = {}
        for wrong, chance in chance_of.items():
            came[wrong] = came.get(wrong, 0.0) + chance * (1.0 - alpha)
            came[wrong + 1] = came.get(wrong + 1, 0.0) + chance * alpha
        decided = {wrong for wrong in came if is_confirmed(accepted, wrong, alpha, DELTA)}
        confirmed += sum(came[wrong] for wrong in decided)
        chance_of = {wrong: came[wrong] for wrong in came if wrong not in decided and came[wrong] > 1e-12}

    assert 0.8 * DELTA < confirmed <= DELTA


def test_what_errs_twice_as_often_is_refuted_soon() -> None:
    chance = random.Random(2)
    found = [look_at_each(chance, 2 * ALPHA, ALPHA) for _ in range(1_000)]

    assert found.count("confirmed") <= 0.02 * len(found)
    assert found.count("refuted") >= 0.98 * len(found)


def test_what_errs_seldom_is_confirmed_although_it_errs() -> None:
    chance = random.Random(3)
    found = [look_at_each(chance, GOOD_SHARE * ALPHA, ALPHA) for _ in range(1_000)]

    assert found.count("confirmed") >= 0.97 * len(found)


@pytest.mark.parametrize(("alpha", "without", "more"), [(0.05, 56, 40), (0.02, 143, 100)])
def test_without_an_error_it_takes_so_many_and_an_error_costs_so_many_more(
    alpha: float, without: int, more: int
) -> None:
    assert audits_to_confirm(alpha, DELTA) == without
    assert is_confirmed(without, 0, alpha, DELTA)
    assert not is_confirmed(without - 1, 0, alpha, DELTA)
    assert audits_to_confirm(alpha, DELTA, without, 1.0) == pytest.approx(more, abs=2)
    assert audits_to_confirm(alpha, DELTA, without, 0.0) == 0


def test_it_is_not_refuted_before_the_drift_alarm_had_its_time() -> None:
    assert not is_refuted(39, 30, ALPHA)
    assert is_refuted(40, 4, ALPHA)
    assert not is_refuted(40, 2, ALPHA)


def test_what_errs_too_often_is_not_expected_to_be_confirmed() -> None:
    assert expected_audits(ALPHA, DELTA, 0.5 * ALPHA) == float("inf")
    assert expected_audits(ALPHA, DELTA, 0.0) < expected_audits(ALPHA, DELTA, 0.01) < 100
