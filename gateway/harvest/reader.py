"""Reading what every worker has harvested, while they go on writing."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec

from gateway.harvest.base import Row
from gateway.harvest.table import COLUMNS, row_from

Cursor = Mapping[str, int]
"""How far each outbox file has been read: file name to the last row's number."""


class Count(msgspec.Struct, frozen=True):
    """Rows of one task: for training, and held out as evidence."""

    training: int = 0
    held_out: int = 0

    def __add__(self, other: Count) -> Count:
        return Count(self.training + other.training, self.held_out + other.held_out)


class Batch(msgspec.Struct, frozen=True):
    """Rows in the order of time, and the cursor from which the next reading goes on."""

    rows: list[Row]
    cursor: Cursor


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """The harvest at a glance. Times are unix seconds, None while there is nothing."""

    files: int
    size_bytes: int
    oldest_at: float | None
    newest_at: float | None
    tasks: dict[str, Count]


class HarvestReader:
    """Reads the `worker-*.db` files of a folder, which may not exist yet. Every method may block."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def counts(self) -> dict[str, Count]:
        """Return how many rows each task has."""
        counts: dict[str, Count] = {}
        for _, connection in self._files():
            query = "SELECT task, sum(NOT is_held_out), sum(is_held_out) FROM rows GROUP BY task"
            for task, training, held_out in connection.execute(query):
                counts[task] = counts.get(task, Count()) + Count(training, held_out)
        return counts

    def held_out_times(self, task: str, since: float) -> list[float]:
        """Return when each held-out row of `task` since then came, in no order."""
        query = "SELECT at FROM rows WHERE task = ? AND is_held_out AND at >= ?"
        return [at for _, file in self._files() for (at,) in file.execute(query, (task, since))]

    def rows(self, task: str, after: Cursor | None = None, *, with_messages: bool = True) -> Batch:
        """Return the rows of `task` that came after the cursor (all without one).

        Without messages the rows are small: their `messages` is then empty.
        """
        cursor = dict(after or {})
        rows: list[Row] = []
        columns = ", ".join(COLUMNS if with_messages else _without_messages())
        # `+id` keeps SQLite on the index of tasks instead of walking everything after the cursor.
        query = f"SELECT id, {columns} FROM rows WHERE task = ? AND +id > ? ORDER BY +id"  # noqa: S608
        for name, connection in self._files():
            for row_id, *record in connection.execute(query, (task, cursor.get(name, 0))):
                rows.append(row_from(tuple(record)))
                cursor[name] = row_id
        return Batch(sorted(rows, key=lambda row: row.at), cursor)

    def stats(self) -> Stats:
        """Return counts, times and the size on disk."""
        spans = [
            connection.execute("SELECT min(at), max(at) FROM rows").fetchone()
            for _, connection in self._files()
        ]
        seen = [span for span in spans if span[0] is not None]
        return Stats(
            files=len(spans),
            size_bytes=sum(path.stat().st_size for path in self._folder.glob("worker-*.db*")),
            oldest_at=min((oldest for oldest, _ in seen), default=None),
            newest_at=max((newest for _, newest in seen), default=None),
            tasks=self.counts(),
        )

    def _files(self) -> Iterator[tuple[str, sqlite3.Connection]]:
        """Yield each outbox that already has its table, open for reading only."""
        for path in sorted(self._folder.glob("worker-*.db")):
            with _reading(path) as connection:
                if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'rows'").fetchone():
                    yield path.name, connection


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    uri = f"{path.absolute().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection:
        yield connection


def _without_messages() -> list[str]:
    return ["x'' AS messages" if name == "messages" else name for name in COLUMNS]
