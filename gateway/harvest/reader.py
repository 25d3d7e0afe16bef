"""Reading what every worker has harvested, while they go on writing."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec

from gateway.errors import ConfigError
from gateway.harvest.base import Row
from gateway.harvest.table import COLUMNS, row_from
from gateway.store.database import UNREADABLE_FILE, describe_fault
from gateway.store.quarantine import Quarantine

_LATEST_AT = 4e9
"""The year 2096; what is later, or no number, is no time that an outbox wrote."""

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
    """Reads the `worker-*.db` files of a folder, which may not exist yet. Every method may block.

    Raises ConfigError, in one line, for a file that is damaged; a row that cannot be read is set aside.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._quarantines: dict[str, Quarantine] = {}

    def counts(self) -> dict[str, Count]:
        """Return how many rows each task has."""
        counts: dict[str, Count] = {}
        query = "SELECT task, sum(is_held_out = 0), sum(is_held_out != 0) FROM rows GROUP BY task"
        for _, records in self._query_files(query):
            for task, training, held_out in records:
                name = str(task, errors="replace")
                counts[name] = counts.get(name, Count()) + Count(int(training), int(held_out))
        return counts

    def rows(self, task: str, after: Cursor | None = None, *, with_messages: bool = True) -> Batch:
        """Return the rows of `task` that came after the cursor (all without one).

        Without messages the rows are small: their `messages` is then empty.
        """
        cursor = dict(after or {})
        rows: list[Row] = []
        columns = ", ".join(COLUMNS if with_messages else _without_messages())
        # `+id` keeps SQLite on the index of tasks instead of walking everything after the cursor.
        query = f"SELECT id, {columns} FROM rows WHERE task = ? AND +id > ? ORDER BY +id"  # noqa: S608
        for name, records in self._query_files(query, lambda name: (task, cursor.get(name, 0))):
            quarantine = self._quarantines.setdefault(name, Quarantine(name, "nothing is learnt from it"))
            for row_id, row in quarantine.read_rows(records, lambda one: (one[0], row_from(one[1:]))):
                rows.append(row)
                cursor[name] = row_id
        return Batch(sorted(rows, key=lambda row: row.at), cursor)

    def stats(self) -> Stats:
        """Return counts, times and the size on disk."""
        query = "SELECT min(at), max(at) FROM rows WHERE at BETWEEN 0 AND ?"
        spans = [span for _, [span] in self._query_files(query, lambda _: (_LATEST_AT,))]
        seen = [span for span in spans if span[0] is not None]
        return Stats(
            files=len(spans),
            size_bytes=sum(path.stat().st_size for path in self._folder.glob("worker-*.db*")),
            oldest_at=min((oldest for oldest, _ in seen), default=None),
            newest_at=max((newest for _, newest in seen), default=None),
            tasks=self.counts(),
        )

    def _query_files(
        self, query: str, parameters: Callable[[str], tuple[object, ...]] = lambda _: ()
    ) -> Iterator[tuple[str, list[Any]]]:
        """Yield the name of each outbox that already has its table, and what it answers to `query`."""
        for path in sorted(self._folder.glob("worker-*.db")):
            with _reading(path) as connection:
                if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'rows'").fetchone():
                    continue
                records = connection.execute(query, parameters(path.name)).fetchall()
            yield path.name, records


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    uri = f"{path.absolute().as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection:
            # As text, one damaged row would end the reading of all of them.
            connection.text_factory = bytes
            yield connection
    except UNREADABLE_FILE as exc:
        raise ConfigError(describe_fault(path, exc)) from exc


def _without_messages() -> list[str]:
    return ["x'' AS messages" if name == "messages" else name for name in COLUMNS]
