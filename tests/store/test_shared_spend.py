"""Dollars of a day or month are reserved and settled over all workers, and a new period begins at zero."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.core import Period
from gateway.store.shared_counters import Counters, create_counters
from gateway.store.shared_spend import SharedSpend


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 12, 31, 22, 0, tzinfo=UTC).timestamp()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def spend(clock: Clock) -> SharedSpend:
    return SharedSpend(Counters(None), "day", clock)


def test_what_is_reserved_and_settled_never_exceeds_the_limit(spend: SharedSpend) -> None:
    spend.settle("key", 0, 0.5)

    assert [spend.reserve("key", 0.2, 1.0) for _ in range(3)] == [True, True, False]


def test_settling_frees_what_was_reserved(spend: SharedSpend) -> None:
    spend.reserve("key", 0.9, 1.0)

    assert spend.settle("key", 0.9, 0.1) == pytest.approx(0.1)

    assert spend.reserved("key") == 0
    assert spend.reserve("key", 0.9, 1.0)


def test_two_names_do_not_share_a_budget(spend: SharedSpend) -> None:
    spend.settle("key", 0, 5.0)

    assert spend.spent("other") == 0


@pytest.mark.parametrize("period", ["day", "month"])
def test_a_new_period_begins_at_zero(clock: Clock, period: Period) -> None:
    spend = SharedSpend(Counters(None), period, clock)
    spend.settle("key", 0, 5.0)
    clock.now = spend.ends_at() - 1
    assert spend.spent("key") == 5.0

    clock.now += 1

    assert spend.spent("key") == 0
    assert spend.reserve("key", 1.0, 1.0)
    assert datetime.fromtimestamp(clock.now, UTC) == datetime(2027, 1, 1, tzinfo=UTC)


def test_a_clock_that_is_set_back_gives_no_new_budget_and_locks_no_longer_than_a_period(
    clock: Clock, spend: SharedSpend
) -> None:
    clock.now += 30 * 86_400
    spend.settle("key", 0, 5.0)
    clock.now -= 30 * 86_400

    assert not spend.reserve("key", 1.0, 5.0)
    clock.now += 86_400
    assert spend.reserve("key", 1.0, 5.0)


def test_a_ledger_only_raises_what_is_known(spend: SharedSpend) -> None:
    spend.settle("key", 0, 2.0)
    spend.raise_to("key", 1.0)
    assert spend.spent("key") == 2.0

    spend.raise_to("key", 3.0)

    assert spend.spent("key") == 3.0


def test_a_restarted_worker_leaves_no_reservation_and_keeps_what_was_settled(
    tmp_path: Path, clock: Clock
) -> None:
    create_counters(tmp_path / "counters", 2)
    killed = SharedSpend(Counters(tmp_path / "counters", 1), "day", clock)
    killed.reserve("key", 0.9, 1.0)
    killed.settle("key", 0, 0.25)

    again = SharedSpend(Counters(tmp_path / "counters", 1), "day", clock)

    assert (again.spent("key"), again.reserved("key")) == (0.25, 0)
