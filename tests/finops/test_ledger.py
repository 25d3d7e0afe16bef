"""The ledger: teacher's answers cost, local ones would have, audits are a cost like any other."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.core import Draft, Plan, Usage
from gateway.finops.ledger import Ledger
from gateway.finops.prices import PriceTable
from gateway.finops.tokens import TokenEstimator
from gateway.store.database import Database
from gateway.store.spend import SpendLog, Sums
from tests.support.builders import NOON, outcome, reading, request

DRAFT = Draft(text="card_arrival", score=0.9, task="cards", version=1)
DAY_S = 86_400


@pytest.fixture
def ledger(prices: PriceTable, spend: SpendLog) -> Ledger:
    return Ledger(prices, spend, TokenEstimator(), clock=lambda: NOON)


def sums_by_decision(ledger: Ledger, spend: SpendLog) -> dict[str, Sums]:
    ledger.flush()
    return {account.decision: sums for account, sums in spend.entries()}


@pytest.mark.parametrize("decision", ["escalated", "audit", "bypass"])
def test_the_teachers_answers_cost_what_it_reported(ledger: Ledger, spend: SpendLog, decision: str) -> None:
    """1,000 prompt and 100 completion tokens are $1 and $1; nothing was saved by asking the teacher."""
    ledger(outcome(decision=decision), reading(usage=Usage(1000, 100)))

    sums = sums_by_decision(ledger, spend)[decision]
    assert (sums.usd, sums.counterfactual_usd, sums.estimated) == (2.0, 2.0, 0)


def test_a_local_answer_costs_nothing_and_saves_what_the_teacher_takes(
    ledger: Ledger, spend: SpendLog
) -> None:
    """The estimate follows what the teacher reported for the same template."""
    ledger(outcome(), reading(usage=Usage(1000, 100)))

    ledger(outcome(decision="local", draft=DRAFT), reading(usage=Usage(9, 9, is_estimated=True)))

    local = sums_by_decision(ledger, spend)["local"]
    assert local.usd == 0.0
    assert local.counterfactual_usd == pytest.approx(2.0)
    assert local.estimated == 1
    assert ledger.saved_usd == pytest.approx(2.0)


def test_shadow_drafts_show_what_they_would_have_saved(ledger: Ledger, spend: SpendLog) -> None:
    ledger(outcome(would_serve=True, draft=DRAFT), reading(usage=Usage(1000, 100)))
    ledger(outcome(would_serve=False, draft=DRAFT), reading(usage=Usage(1000, 100)))

    assert sums_by_decision(ledger, spend)["escalated"].would_save_usd == pytest.approx(2.0)


def test_unreported_usage_is_estimated_and_counted(ledger: Ledger, spend: SpendLog) -> None:
    """A stream whose client did not ask for usage still costs."""
    ledger(outcome(), reading(usage=None))

    sums = sums_by_decision(ledger, spend)["escalated"]
    assert sums.estimated == 1
    assert sums.usd > 0


@pytest.mark.parametrize("usage", [Usage(-1, 5), Usage(10**30, 5)], ids=["negative", "absurd"])
def test_implausible_usage_is_estimated_instead(ledger: Ledger, spend: SpendLog, usage: Usage) -> None:
    ledger(outcome(), reading(usage=usage))

    assert 0 < sums_by_decision(ledger, spend)["escalated"].usd < 1


def test_a_model_without_a_price_is_counted(ledger: Ledger, spend: SpendLog) -> None:
    ledger(outcome(request(model="no-such-model")), reading())

    sums = sums_by_decision(ledger, spend)["escalated"]
    assert (sums.usd, sums.unpriced) == (0.0, 1)


def test_refused_requests_cost_nothing(ledger: Ledger, spend: SpendLog) -> None:
    ledger(outcome(status=429), reading(text=None, usage=None))

    assert sums_by_decision(ledger, spend) == {}


def test_spending_counts_at_once_and_by_policy(ledger: Ledger) -> None:
    ledger(outcome(plan=Plan(policy="cheap", may_serve=True)), reading(usage=Usage(1000, 0)))

    assert (ledger.spent_today("cheap"), ledger.spent_today("default")) == (1.0, 0.0)


def test_a_refresh_adds_what_the_other_workers_spent(ledger: Ledger, prices: PriceTable, path: Path) -> None:
    """Once each: what waits here and what is on disk do not count twice."""
    database = Database(path)
    other = Ledger(prices, SpendLog(database), TokenEstimator(), clock=lambda: NOON)
    other(outcome(), reading(usage=Usage(1000, 0)))
    other.flush()
    ledger(outcome(), reading(usage=Usage(1000, 0)))

    ledger.refresh()
    ledger.refresh()

    assert ledger.spent_today("default") == 2.0
    database.close()


def test_a_restart_remembers_what_today_has_cost(ledger: Ledger, prices: PriceTable, spend: SpendLog) -> None:
    ledger(outcome(), reading(usage=Usage(1000, 0)))
    ledger.flush()

    assert Ledger(prices, spend, TokenEstimator(), clock=lambda: NOON).spent_today("default") == 1.0


def test_a_new_day_starts_at_nothing(prices: PriceTable, spend: SpendLog) -> None:
    """Even before the first refresh of that day."""
    now = NOON
    ledger = Ledger(prices, spend, TokenEstimator(), clock=lambda: now)
    ledger(outcome(), reading(usage=Usage(1000, 0)))

    now += DAY_S

    assert ledger.spent_today("default") == 0.0


def test_a_failed_flush_keeps_the_sums(
    ledger: Ledger, spend: SpendLog, break_disk: Callable[[], Callable[[], None]]
) -> None:
    ledger(outcome(), reading(usage=Usage(1000, 0)))
    mend = break_disk()
    with pytest.raises(sqlite3.OperationalError):
        ledger.flush()
    ledger(outcome(), reading(usage=Usage(1000, 0)))
    mend()

    assert sums_by_decision(ledger, spend)["escalated"].usd == 2.0


@pytest.fixture
def break_disk(path: Path) -> Callable[[], Callable[[], None]]:
    """Make every write to the accounts fail until the function it returns is called."""

    def rename(old: str, new: str) -> None:
        connection = sqlite3.connect(path)
        connection.execute(f"ALTER TABLE {old} RENAME TO {new}")
        connection.close()

    def break_it() -> Callable[[], None]:
        rename("spend", "gone")
        return lambda: rename("gone", "spend")

    return break_it
