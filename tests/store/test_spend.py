"""Spending adds up over processes and restarts."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.store.database import Database
from gateway.store.spend import Account, SpendLog, Sums

CARDS = Account("2026-11-24", "default", "cards", "gpt-4o", "escalated")
ONE = Sums(requests=1, prompt_tokens=10, completion_tokens=2, usd=0.5, counterfactual_usd=0.75, estimated=1)


def test_entries_of_one_account_add_up(database: Database, other_process: Database) -> None:
    SpendLog(database).add([(CARDS, ONE), (CARDS, ONE)])
    SpendLog(other_process).add([(CARDS, ONE)])

    assert SpendLog(database).entries() == [(CARDS, ONE + ONE + ONE)]


def test_totals_sum_over_accounts_from_a_day_on(database: Database) -> None:
    spend = SpendLog(database)
    spend.add([(Account("2026-11-23", "default", "cards", "gpt-4o", "local"), ONE), (CARDS, ONE)])

    assert spend.totals("2026-11-24") == ONE
    assert spend.totals() == ONE + ONE


def test_what_policies_spent_is_summed_by_day(database: Database) -> None:
    spend = SpendLog(database)
    spend.add(
        [
            (CARDS, ONE),
            (Account("2026-11-24", "default", "", "gpt-4o", "bypass"), ONE),
            (Account("2026-11-24", "cheap", "cards", "gpt-4o", "audit"), ONE),
            (Account("2026-11-23", "default", "cards", "gpt-4o", "audit"), ONE),
        ]
    )

    found = {name: spend.usd_by_owner("2026-11-24", name, "policy") for name in ("default", "cheap")}
    assert found == {"default": {"": 1.0}, "cheap": {"": 0.5}}


def test_sums_survive_a_restart(path: Path) -> None:
    first = Database(path)
    SpendLog(first).add([(CARDS, ONE)])
    first.close()

    second = Database(path)
    assert SpendLog(second).totals() == ONE
    second.close()


def test_a_failing_entry_undoes_the_whole_write(database: Database) -> None:
    """All or none: the entries of a failed write may be added again."""
    spend = SpendLog(database)

    with pytest.raises(OverflowError):
        spend.add([(CARDS, ONE), (CARDS, Sums(requests=10**30))])

    assert spend.entries() == []
