"""The sums of older versions are taken over, by day and month, policy and key."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from gateway.store.awaited_usage import AwaitedUsage, AwaitedUsages
from gateway.store.database import Database
from gateway.store.spend import Account, SpendLog, Sums

OLD_SPEND = """
CREATE TABLE spend (day TEXT NOT NULL, policy TEXT NOT NULL, task TEXT NOT NULL, model TEXT NOT NULL,
    decision TEXT NOT NULL, requests INTEGER NOT NULL, prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL, usd REAL NOT NULL, counterfactual_usd REAL NOT NULL,
    would_save_usd REAL NOT NULL, estimated INTEGER NOT NULL, unpriced INTEGER NOT NULL,
    PRIMARY KEY (day, policy, task, model, decision));
INSERT INTO spend VALUES ('2026-11-01', 'default', 'cards', 'gpt-4o', 'local', 3, 30, 6, 0.0, 1.5, 0.0, 3, 0);
"""


def test_the_sums_of_an_older_version_are_taken_over_once(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    Database(path).close()
    old = sqlite3.connect(path)
    old.executescript(OLD_SPEND)
    old.close()

    stores = [SpendLog(Database(path)) for _ in range(2)]

    wanted = Sums(requests=3, prompt_tokens=30, completion_tokens=6, counterfactual_usd=1.5, estimated=3)
    assert stores[1].entries() == [(Account("2026-11-01", "default", "cards", "gpt-4o", "local"), wanted)]


def test_months_and_days_are_summed_by_policy_and_key(tmp_path: Path) -> None:
    spend = SpendLog(Database(tmp_path / "state.db"))
    for day, key in (("2026-11-01", "a"), ("2026-11-30", "b"), ("2026-12-01", "a")):
        account = Account(day, "default", "", "m", "bypass", "t", key, "")
        spend.add([(account, Sums(requests=1, usd=1.0))])

    assert spend.usd_by_owner("2026-11-30", "default", "policy") == {"": 1.0}
    assert spend.usd_by_owner("2026-11", "default", "key") == {"a": 1.0, "b": 1.0}
    assert spend.usd_by_owner("2026-11", "default", "policy") == {"": 2.0}
    assert spend.usd_by_owner("2026-11", "other", "tenant") == {}


@pytest.mark.parametrize("kept_s", [31 * 86_400.0])
def test_what_never_ends_is_forgotten(tmp_path: Path, kept_s: float) -> None:
    awaited = AwaitedUsages(Database(tmp_path / "state.db"))
    for object_id, at in (("old", 0.0), ("new", kept_s + 1)):
        awaited.add(AwaitedUsage(object_id, at, "r", "t", "k", "p", "", "/v1/responses", "m", ""))

    assert (awaited.is_awaited("old"), awaited.is_awaited("new")) == (False, True)
    assert awaited.take("new") is not None
    assert awaited.take("new") is None
