"""The reader: every worker's rows, once each, while they go on writing."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from gateway.errors import ConfigError
from gateway.harvest.base import Row
from gateway.harvest.outbox import Outbox
from gateway.harvest.reader import Count, HarvestReader
from gateway.store.database import Database


def test_a_harvest_which_has_not_begun_is_empty(folder: Path) -> None:
    """No folder yet is no error."""
    reader = HarvestReader(folder)

    assert reader.counts() == {}
    assert reader.rows("cards").rows == []
    assert reader.stats().files == 0


def test_counts_keep_evidence_apart_over_all_workers(
    outbox: Callable[..., Outbox], folder: Path, row: Callable[..., Row]
) -> None:
    for n in range(2):
        box = outbox(n)
        box.put(row())
        box.put(row(is_held_out=True))
        box.put(row(task="loans"))
        box.flush()

    assert HarvestReader(folder).counts() == {
        "cards": Count(training=2, held_out=2),
        "loans": Count(training=2, held_out=0),
    }


def test_rows_of_all_workers_come_in_the_order_of_time(
    outbox: Callable[..., Outbox], folder: Path, row: Callable[..., Row]
) -> None:
    for n, times in enumerate(([1.0, 3.0], [2.0, 4.0])):
        box = outbox(n)
        for at in times:
            box.put(row(at=at))
        box.flush()

    assert [each.at for each in HarvestReader(folder).rows("cards").rows] == [1.0, 2.0, 3.0, 4.0]


def test_a_cursor_gives_only_what_is_new(
    outbox: Callable[..., Outbox], folder: Path, row: Callable[..., Row]
) -> None:
    """Also when a worker's file appears after the first reading."""
    first = outbox(0)
    first.put(row(at=1.0))
    first.flush()
    reader = HarvestReader(folder)
    cursor = reader.rows("cards").cursor
    for n, at in ((0, 2.0), (1, 3.0)):
        box = first if n == 0 else outbox(n)
        box.put(row(at=at))
        box.flush()

    assert [each.at for each in reader.rows("cards", cursor).rows] == [2.0, 3.0]


def test_rows_can_be_read_without_their_messages(
    outbox: Callable[..., Outbox], folder: Path, row: Callable[..., Row]
) -> None:
    """A learner needs only text and answer; the messages may be a hundred times larger."""
    box = outbox()
    box.put(row())
    box.flush()

    (read,) = HarvestReader(folder).rows("cards", with_messages=False).rows

    assert (read.messages, read.text) == (b"", "where is my card?")


def test_stats_tell_times_and_size(
    outbox: Callable[..., Outbox], folder: Path, row: Callable[..., Row]
) -> None:
    box = outbox()
    for at in (5.0, 9.0):
        box.put(row(at=at))
    box.flush()

    stats = HarvestReader(folder).stats()

    assert (stats.files, stats.oldest_at, stats.newest_at) == (1, 5.0, 9.0)
    assert stats.size_bytes >= (folder / "worker-0.db").stat().st_size


def test_a_file_without_its_table_yet_is_passed_over(folder: Path) -> None:
    """A worker which has just started has created its file and nothing in it."""
    Database(folder / "worker-0.db").close()

    assert HarvestReader(folder).rows("cards").rows == []


def test_reading_changes_nothing(
    outbox: Callable[..., Outbox], folder: Path, row: Callable[..., Row]
) -> None:
    box = outbox()
    box.put(row())
    box.close()
    before = (folder / "worker-0.db").read_bytes()

    HarvestReader(folder).rows("cards")

    assert (folder / "worker-0.db").read_bytes() == before


@pytest.mark.parametrize(
    ("column", "value"), [("text", b"\xff"), ("at", "noon"), ("messages", b"{"), ("ending", "odd")]
)
def test_a_row_that_cannot_be_read_is_named_and_costs_no_other(
    outbox: Callable[..., Outbox],
    folder: Path,
    row: Callable[..., Row],
    caplog: pytest.LogCaptureFixture,
    *,
    column: str,
    value: object,
) -> None:
    """Before, it ended the learning of its task, and `harvest export`, with a traceback."""
    box = outbox()
    for number in range(3):
        box.put(row(at=float(number)))
    box.close()
    with closing(sqlite3.connect(folder / "worker-0.db")) as connection, connection:
        connection.execute(f"UPDATE rows SET {column} = ? WHERE id = 2", (value,))

    reader = HarvestReader(folder)

    assert [found.at for found in reader.rows("cards").rows] == [0.0, 2.0]
    assert reader.counts() == {"cards": Count(training=3)}
    assert "worker-0.db: row '2' cannot be read" in caplog.text


def test_a_damaged_file_is_named_in_one_line(
    outbox: Callable[..., Outbox], folder: Path, row: Callable[..., Row]
) -> None:
    box = outbox()
    box.put(row())
    box.close()
    (folder / "worker-0.db").write_bytes(b"x" * 10_000)

    with pytest.raises(ConfigError, match=r"worker-0\.db: damaged"):
        HarvestReader(folder).counts()


def test_the_latest_rows_of_all_tasks_are_followed(
    outbox: Callable[..., Outbox], folder: Path, row: Callable[..., Row]
) -> None:
    for n in range(2):
        box = outbox(n)
        for at in range(3):
            box.put(row(at=at + n / 10, request_id=f"{at}-{n}", task=f"task-{at}"))
        box.flush()
    reader = HarvestReader(folder)

    batch = reader.latest(3)
    late = outbox(2)
    late.put(row(at=9.0, request_id="new"))
    late.flush()

    assert [each.request_id for each in batch.rows] == ["1-1", "2-0", "2-1"]
    assert [each.request_id for each in reader.latest(3, batch.cursor).rows] == ["new"]


def test_a_request_is_found_wherever_it_is(
    outbox: Callable[..., Outbox], folder: Path, row: Callable[..., Row]
) -> None:
    for n in range(2):
        box = outbox(n)
        box.put(row(request_id=f"req-{n}"))
        box.flush()

    assert [each.request_id for each in HarvestReader(folder).find("req-1")] == ["req-1"]
    assert HarvestReader(folder).find("req-9") == []
