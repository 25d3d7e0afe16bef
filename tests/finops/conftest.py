"""A ledger on a real file, with a price that makes sums easy to check."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.finops.later_usage import LaterUsage
from gateway.finops.ledger import Ledger
from gateway.finops.prices import Price, PriceTable
from gateway.finops.pricing import Pricer
from gateway.finops.tokens import TokenEstimator
from gateway.store.awaited_usage import AwaitedUsages
from gateway.store.database import Database
from gateway.store.decision_log import DecisionLog
from gateway.store.spend import SpendLog


@pytest.fixture
def prices() -> PriceTable:
    """One dollar per thousand prompt tokens, ten per thousand completion tokens, for "giant"."""
    unknown = Price(input_usd_per_mtok=10_000.0, output_usd_per_mtok=100_000.0)
    return PriceTable({"giant": Price(input_usd_per_mtok=1000.0, output_usd_per_mtok=10_000.0)}, unknown)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    database = Database(path)
    yield database
    database.close()


@pytest.fixture
def spend(database: Database) -> SpendLog:
    return SpendLog(database)


def create_ledger(
    prices: PriceTable,
    database: Database,
    clock: Callable[[], float],
    decisions: DecisionLog | None = None,
) -> Ledger:
    """Return a ledger over all its stores in `database`."""
    pricer = Pricer(prices, TokenEstimator())
    later = LaterUsage(pricer, AwaitedUsages(database))
    decisions = decisions or DecisionLog(lambda: database)
    return Ledger(pricer, SpendLog(database), decisions, later, clock=clock)
