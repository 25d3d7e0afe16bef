"""Reading what every worker has harvested, while they go on writing."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec

from gateway.core import hash_text
from gateway.errors import ConfigError
from gateway.harvest.base import Row
from gateway.harvest.row_reader import RowReader
from gateway.harvest.table import LOCAL
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
    exported: int = 0
    """For exports alone: no specialist could be asked for them, or answer so."""
    local: int = 0
    """Answers of specialists that apps complained of: for reviewers, who make lessons of them."""

    def __add__(self, other: Count) -> Count:
        return Count(
            self.training + other.training,
            self.held_out + other.held_out,
            self.exported + other.exported,
            self.local + other.local,
        )


class HeldOut(msgspec.Struct, frozen=True, kw_only=True):
    """What tells which held-out rows count as evidence."""

    request_id: str
    at: float
    text_hash: int
    caller: str
    is_vouched_for: bool


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
    parts: int = 0
    parts_bytes: int = 0
    """Of the Parquet files, if rows move to some."""


class HarvestReader:
    """Reads the `worker-*.db` files of a folder, which may not exist yet. Every method may block.

    Raises ConfigError, in one line, for a file that is damaged; a row that cannot be read is set aside.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._quarantines: dict[str, Quarantine] = {}

    def counts(self) -> dict[str, Count]:
        """Return how many rows each task has; one with rows for exports alone is among them."""
        counts: dict[str, Count] = {}
        for path in self._paths():
            with self._open(path) as connection:
                for task, *numbers in _count_rows(connection):
                    name = str(task, errors="replace")
                    counts[name] = counts.get(name, Count()) + Count(*map(int, numbers))
        return counts

    def held_out_since(self, task: str, since: float) -> list[HeldOut]:
        """Return each held-out row of `task` since then that a coin drew, in the order of time."""
        query = (
            "SELECT request_id, at, text, caller, is_vouched_for FROM rows "
            "WHERE task = ? AND is_held_out AND propensity > 0 AND at BETWEEN ? AND ?"
        )
        found: list[HeldOut] = []
        for path in self._paths():
            with self._open(path) as connection:
                has_rows = _has_table(connection, "rows")
                rows = connection.execute(query, (task, since, _LATEST_AT)) if has_rows else ()
                found += [
                    HeldOut(
                        request_id=str(request_id, errors="replace"),
                        at=at,
                        text_hash=hash_text(str(text, errors="replace")),
                        caller=str(caller, errors="replace"),
                        is_vouched_for=bool(is_vouched_for),
                    )
                    for request_id, at, text, caller, is_vouched_for in rows
                ]
        return sorted(found, key=lambda one: one.at)

    def held_out_rows(self, task: str, since: float) -> list[Row]:
        """Return the held-out rows of `task` since then that a coin drew, in the order of time."""
        where = "task = ? AND is_held_out AND propensity > 0 AND at BETWEEN ? AND ?"
        chosen = (task, since, _LATEST_AT)
        rows = [row for path in self._paths() for _, row in self._read_rows(path, where, chosen)]
        return sorted(rows, key=lambda row: row.at)

    def local_rows(self, task: str) -> list[Row]:
        """Return the local answers that are kept of `task`, in the order of time."""
        where = f"task = ? AND {LOCAL}"
        rows = [row for path in self._paths() for _, row in self._read_rows(path, where, (task,))]
        return sorted(rows, key=lambda row: row.at)

    def rows(
        self,
        task: str,
        after: Cursor | None = None,
        *,
        with_messages: bool = True,
        lessons_only: bool = False,
        newest: int | None = None,
    ) -> Batch:
        """Return the rows of `task` that came after the cursor (all without one), or the `newest` of them.

        Without messages the rows are small: of request and reply they have the texts alone. Lessons are
        what a specialist can learn from or be judged by.
        """
        cursor = dict(after or {})
        rows: list[Row] = []
        # `+id` keeps SQLite on the index of tasks instead of walking everything after the cursor.
        where = "task = ? AND +id > ? ORDER BY +id DESC LIMIT ?"
        for path in self._paths():
            chosen = (task, cursor.get(path.name, 0), -1 if newest is None else newest)
            for row_id, row in reversed(self._read_rows(path, where, chosen, with_messages=with_messages)):
                cursor[path.name] = row_id
                if row.is_lesson or not lessons_only:
                    rows.append(row)
        ordered = sorted(rows, key=lambda row: row.at)
        return Batch(ordered if newest is None else ordered[-newest:], cursor)

    def find(self, request_id: str) -> list[Row]:
        """Return the rows of one request, oldest first; walks every file."""
        found = [
            row for path in self._paths() for _, row in self._read_rows(path, "request_id = ?", (request_id,))
        ]
        return sorted(found, key=lambda row: row.at)

    def find_kept(self, request_ids: Sequence[str]) -> set[str]:
        """Return which of these requests have a row; walks every file once."""
        where = "request_id IN (SELECT value FROM json_each(?))"
        asked = (msgspec.json.encode(request_ids).decode(),)
        kept = [self._read_rows(path, where, asked, with_messages=False) for path in self._paths()]
        return {row.request_id for rows in kept for _, row in rows}

    def latest(self, count: int, after: Cursor | None = None) -> Batch:
        """Return the last `count` rows of all tasks, of those that came after the cursor."""
        cursor, rows = dict(after or {}), []
        for path in self._paths():
            newest = "id IN (SELECT id FROM rows WHERE id > ? ORDER BY id DESC LIMIT ?) ORDER BY id"
            for row_id, row in self._read_rows(path, newest, (cursor.get(path.name, 0), count)):
                cursor[path.name] = row_id
                rows.append(row)
        return Batch(sorted(rows, key=lambda row: row.at)[-count:], cursor)

    def refresh(self) -> None:
        """Let what is read next be as it is by now; files on this disk always are."""

    def removed(self) -> dict[str, Count]:
        """Return how many rows of each task are gone; who keeps rows in memory must read them again."""
        counts: dict[str, Count] = {}
        sums = "sum(count * NOT is_held_out), sum(count * is_held_out)"
        query = f"SELECT task, {sums} FROM removals GROUP BY task"  # noqa: S608
        for path in self._paths():
            with self._open(path) as connection:
                records = connection.execute(query).fetchall() if _has_table(connection, "removals") else []
            for task, training, held_out in records:
                name = str(task, errors="replace")
                counts[name] = counts.get(name, Count()) + Count(int(training), int(held_out))
        return counts

    def came(self) -> dict[str, Count]:
        """Return how many rows of each task ever came, removed ones too: it only grows."""
        counts = self.counts()
        for task, removed in self.removed().items():
            counts[task] = counts.get(task, Count()) + removed
        return counts

    def stats(self) -> Stats:
        """Return counts, times and the size on disk."""
        query = "SELECT min(at), max(at) FROM rows WHERE at BETWEEN 0 AND ?"
        spans = []
        for path in self._paths():
            with self._open(path) as connection:
                if _has_table(connection, "rows"):
                    spans.append(connection.execute(query, (_LATEST_AT,)).fetchone())
        seen = [span for span in spans if span[0] is not None]
        return Stats(
            files=len(spans),
            size_bytes=sum(path.stat().st_size for path in self._folder.glob("worker-*.db*")),
            oldest_at=min((oldest for oldest, _ in seen), default=None),
            newest_at=max((newest for _, newest in seen), default=None),
            tasks=self.counts(),
        )

    def _read_rows(
        self, path: Path, where: str, parameters: Sequence[object], *, with_messages: bool = True
    ) -> list[tuple[int, Row]]:
        quarantine = self._quarantines.setdefault(
            path.name, Quarantine(path.name, "nothing is learnt from it")
        )
        with self._open(path) as connection:
            if not _has_table(connection, "rows"):
                return []
            reader = RowReader(connection)
            columns = reader.list_columns(with_messages=with_messages)
            query = f"SELECT id, {columns} FROM rows WHERE {where}"  # noqa: S608 - from our own code
            records = connection.execute(query, parameters).fetchall()
            return list(quarantine.read_rows(records, lambda one: (one[0], reader.row_from(one[1:]))))

    def _open(self, path: Path) -> AbstractContextManager[sqlite3.Connection]:
        """Give a connection whose table `rows` has what is to be read of a file."""
        return open_outbox(path)

    def _paths(self) -> list[Path]:
        return sorted(self._folder.glob("worker-*.db"))


def _count_rows(connection: sqlite3.Connection) -> list[Any]:
    """Return of each task how many rows are lessons, evidence, for exports alone, and local."""
    if not _has_table(connection, "rows"):
        return []
    lesson = RowReader(connection).lesson
    return connection.execute(
        f"SELECT task, sum(is_held_out = 0 AND {lesson}), sum(is_held_out != 0), "  # noqa: S608
        f"sum(NOT {lesson} AND NOT {LOCAL}), sum({LOCAL}) FROM rows GROUP BY task"
    ).fetchall()


@contextmanager
def open_outbox(path: Path) -> Iterator[sqlite3.Connection]:
    """Give one snapshot of a worker's file, in which texts are bytes. Raises ConfigError if it is damaged."""
    uri = f"{path.absolute().as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection:
            # As text, one damaged row would end the reading of all of them.
            connection.text_factory = bytes
            connection.execute("BEGIN")
            yield connection
    except UNREADABLE_FILE as exc:
        raise ConfigError(describe_fault(path, exc)) from exc


def _has_table(connection: sqlite3.Connection, name: str) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (name,)).fetchone() is not None
