"""Reports count rows without waiting for a storage that is away."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.errors import StepdownError
from gateway.harvest.reader import Count, HarvestReader
from gateway.processes.row_counts import RowCounts
from tests.support.waiting import PATIENCE_S, wait_for

FEW, MORE = {"task": Count(training=1)}, {"task": Count(training=2)}


class Storage(HarvestReader):
    """A harvest whose storage answers, refuses, or does neither."""

    def __init__(self) -> None:
        self.found = FEW
        self.error: StepdownError | None = None
        self.answers = threading.Event()
        self.answers.set()

    def counts(self) -> dict[str, Count]:
        assert self.answers.wait(PATIENCE_S)
        if self.error:
            raise self.error
        return self.found


@pytest.fixture
def storage() -> Iterator[Storage]:
    storage = Storage()
    yield storage
    storage.answers.set()


def test_what_the_storage_has_is_counted_at_once(storage: Storage, tmp_path: Path) -> None:
    counts = RowCounts(storage, HarvestReader(tmp_path), wait_s=PATIENCE_S)
    assert counts.read() == FEW

    storage.found = MORE
    assert counts.read() == MORE


def test_a_frozen_storage_delays_no_report(storage: Storage, tmp_path: Path) -> None:
    """Metrics without an answer would hide all else that goes wrong meanwhile."""
    counts = RowCounts(storage, HarvestReader(tmp_path), wait_s=0.05)
    wait_for(lambda: counts.read() == FEW, "it is not read")
    storage.found = MORE
    storage.answers.clear()
    assert [counts.read() for _ in range(3)] == [FEW] * 3

    storage.answers.set()
    wait_for(lambda: counts.read() == MORE, "it is not read when it answers again")


def test_one_that_refuses_is_said_once(
    storage: Storage, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    counts = RowCounts(storage, HarvestReader(tmp_path), wait_s=PATIENCE_S)
    storage.error = StepdownError("harvest.parts cannot be read: refused")
    assert [counts.read() for _ in range(3)] == [{}] * 3
    assert caplog.text.count("refused") == 1

    storage.error = None
    assert counts.read() == FEW
