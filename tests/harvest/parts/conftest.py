"""A harvest whose rows move to parts in a folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.harvest.base import Row
from gateway.harvest.outbox import Outbox
from gateway.harvest.parts.manifests import ManifestLog
from gateway.harvest.parts.reader import PartsAndOutboxReader
from gateway.harvest.parts.shipping import Shipper
from gateway.store.object_storage import LocalFolder, Storage


class Machine:
    """One machine: its outbox, and what it does to the parts."""

    def __init__(self, home: Path, storage: Storage) -> None:
        self.harvest = home / "harvest"
        self.storage = storage
        self.outbox = Outbox(self.harvest / "worker-0.db")
        self.log = ManifestLog(storage)
        self.shipper = Shipper(self.harvest, self.log)
        self.reader = PartsAndOutboxReader(self.harvest, ManifestLog(storage), clock=_always_later())

    def keep(self, *rows: Row) -> None:
        """Harvest rows."""
        for each in rows:
            assert self.outbox.put(each)
        self.outbox.flush()

    def ship(self, *rows: Row) -> None:
        """Harvest rows, and move all that are there to parts."""
        self.keep(*rows)
        self.shipper.ship_all()

    def ids(self) -> list[str]:
        """Return the ids of all rows that this machine sees."""
        return sorted(row.request_id for task in self.reader.counts() for row in self.reader.rows(task).rows)


def _always_later() -> Callable[[], float]:
    """Return a clock by which every look is the first for a long time."""
    times = iter(range(0, 1 << 40, 1_000))
    return lambda: float(next(times))


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    pytest.importorskip("duckdb")
    return LocalFolder(tmp_path / "parts")


@pytest.fixture
def machine(tmp_path: Path, storage: Storage) -> Iterator[Callable[[str], Machine]]:
    """Open a machine by its name."""
    opened: list[Machine] = []

    def open_one(name: str = "a") -> Machine:
        opened.append(Machine(tmp_path / name, storage))
        return opened[-1]

    yield open_one
    for each in opened:
        each.outbox.close()


OpenMachine = Callable[..., Machine]
MakeRow = Callable[..., Row]
