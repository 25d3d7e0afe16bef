"""A ledger on a real file, with a price that makes sums easy to check."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.finops.prices import Price, PriceTable
from gateway.store.database import Database
from gateway.store.spend import SpendLog


@pytest.fixture
def prices() -> PriceTable:
    """One dollar per thousand prompt tokens, ten per thousand completion tokens, for "giant"."""
    return PriceTable({"giant": Price(input_usd_per_mtok=1000.0, output_usd_per_mtok=10_000.0)})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@pytest.fixture
def spend(path: Path) -> Iterator[SpendLog]:
    database = Database(path)
    yield SpendLog(database)
    database.close()
