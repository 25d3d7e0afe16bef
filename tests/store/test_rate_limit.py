"""Rates hold evenly, say truly when to come back, and forgive a clock that jumps."""

from __future__ import annotations

import pytest

from gateway.store.rate_limit import ConcurrencyGauge, RateLimit
from gateway.store.shared_counters import Counters


@pytest.fixture
def limit() -> RateLimit:
    """60 a minute."""
    return RateLimit(Counters(None).cell("key"), 60)


def take_all(limit: RateLimit, now: float) -> int:
    count = 0
    while not limit.take(1, now):
        count += 1
    return count


def test_the_whole_limit_may_be_taken_at_once_and_no_more(limit: RateLimit) -> None:
    assert take_all(limit, 1_000.0) == 60


@pytest.mark.parametrize("wait_s", [1.0, 7.0, 30.0, 60.0])
def test_what_was_taken_comes_back_evenly(limit: RateLimit, wait_s: float) -> None:
    take_all(limit, 1_000.0)

    assert take_all(limit, 1_000.0 + wait_s) == int(wait_s)


def test_the_time_to_wait_is_true(limit: RateLimit) -> None:
    """After it a request passes, a moment before not."""
    take_all(limit, 1_000.0)

    wait_s = limit.take(1, 1_000.25)

    assert wait_s == pytest.approx(0.75)
    assert limit.take(1, 1_000.25 + wait_s - 0.01) > 0
    assert limit.take(1, 1_000.25 + wait_s) == 0


def test_the_remaining_and_the_reset_are_what_is_left(limit: RateLimit) -> None:
    for _ in range(15):
        limit.take(1, 1_000.0)

    assert (limit.remaining(1_000.0), limit.reset_s(1_000.0)) == (45, 15.0)
    assert (limit.remaining(1_015.0), limit.reset_s(1_015.0)) == (60, 0.0)


def test_more_than_the_limit_waits_for_the_whole_limit(limit: RateLimit) -> None:
    assert limit.take(1_000, 1_000.0) == 0
    assert limit.take(1, 1_000.0) > 0
    assert limit.take(1_000, 1_060.0) == 0


def test_what_an_answer_took_beyond_its_estimate_is_paid_off(limit: RateLimit) -> None:
    limit.take(10, 1_000.0)
    limit.charge(110, 1_000.0)

    assert limit.take(1, 1_000.0) == pytest.approx(61.0)


def test_what_was_not_used_is_given_back(limit: RateLimit) -> None:
    limit.take(60, 1_000.0)
    limit.charge(-20, 1_000.0)

    assert limit.remaining(1_000.0) == 20


def test_an_absurd_usage_locks_nobody_out_for_ever(limit: RateLimit) -> None:
    limit.charge(1e12, 1_000.0)

    assert limit.take(1, 1_000.0) <= 600


@pytest.mark.parametrize("step_s", [-86_400.0, 86_400.0])
def test_a_clock_that_jumps_locks_nobody_out_for_longer_than_the_period(
    limit: RateLimit, step_s: float
) -> None:
    take_all(limit, 100_000.0)

    assert limit.take(1, 100_000.0 + step_s) <= 60
    assert limit.take(1, 100_000.0) <= 60


def test_a_limit_of_zero_lets_nothing_through() -> None:
    limit = RateLimit(Counters(None).cell("key"), 0)

    assert limit.take(1, 1_000.0) > 0
    assert limit.remaining(1_000.0) == 0


def test_a_gauge_admits_as_many_as_the_limit_at_a_time() -> None:
    gauge = ConcurrencyGauge(Counters(None).cell("key"), 2)

    assert [gauge.enter() for _ in range(3)] == [True, True, False]
    gauge.leave()
    assert gauge.enter()
