"""Reading the harvest where its rows move from outboxes to parts: each row once, wherever it is just now."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec

from gateway.core import hash_text
from gateway.errors import StepdownError
from gateway.harvest.base import Row
from gateway.harvest.origins import Origin, find_shipped, read_origins, read_shipped
from gateway.harvest.parts.base import Part, Table, add_counts, count_parts
from gateway.harvest.parts.cursors import find_wanted
from gateway.harvest.parts.manifests import ManifestLog
from gateway.harvest.parts.parquet import LostPartError, read_rows
from gateway.harvest.reader import Batch, Count, Cursor, HarvestReader, HeldOut, Stats
from gateway.harvest.table import LOCAL

logger = logging.getLogger(__name__)

T = TypeVar("T")

FRESH_FOR_S = 5.0
"""How long other machines' new rows may go unnoticed: to look for them is a request to the storage."""
_MOST_ATTEMPTS = 10


class _StaleTableError(Exception):
    """An outbox has deleted rows that a manifest names which this process has not read."""


class _Query(msgspec.Struct, frozen=True):
    """A search in some parts."""

    parts: Sequence[Part]
    where: str = "true"
    parameters: Sequence[object] = ()
    with_messages: bool = True

    def narrow(self, parts: Sequence[Part], clause: str, values: Sequence[object]) -> _Query:
        """Return the search in `parts` alone, with more SQL at its end."""
        return _Query(parts, self.where + clause, [*self.parameters, *values], self.with_messages)


class _UnshippedReader(HarvestReader):
    """Reads the rows of outboxes that no manifest names. Raises _StaleTableError."""

    def __init__(self, folder: Path, log: ManifestLog) -> None:
        super().__init__(folder)
        self.files: dict[str, list[Origin]] = {}
        """By file, its names; of those that were read."""
        self._log = log
        self._is_other_storage = False

    def accept_other_storage(self) -> None:
        """Read on though an outbox has deleted rows that no manifest here names."""
        self._is_other_storage = True
        logger.warning("harvest.parts: rows were moved elsewhere before; what is not here is not read")

    @contextmanager
    def _open(self, path: Path) -> Iterator[sqlite3.Connection]:
        with super()._open(path) as connection:
            origins = read_origins(connection)
            self.files[path.name] = origins
            shipped = find_shipped(origins, self._log.table.shipped)
            if read_shipped(connection) > shipped and not self._is_other_storage:
                raise _StaleTableError
            if shipped and connection.execute("SELECT 1 FROM rows WHERE id <= ?", (shipped,)).fetchone():
                # Named by a manifest and not deleted yet: read from the part.
                view = f"SELECT * FROM main.rows WHERE id > {shipped}"  # noqa: S608 - a number
                connection.execute(f"CREATE TEMP VIEW rows AS {view}")
            yield connection


class PartsAndOutboxReader(HarvestReader):
    """A HarvestReader over this machine's outboxes and the parts of all machines. Threads take turns.

    A row is deleted from its outbox after a manifest has named it. So an outbox whose deletions go no further
    than the table knows, read in one snapshot, and that table hold every row once between them.
    """

    def __init__(self, folder: Path, log: ManifestLog, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(folder)
        self._outboxes = _UnshippedReader(folder, log)
        self._log = log
        self._clock = clock
        self._lock = threading.RLock()
        self._looked_at = float("-inf")

    def counts(self) -> dict[str, Count]:
        """See HarvestReader."""
        return self._read(lambda table: add_counts(self._outboxes.counts(), _count(table)))

    def held_out_since(self, task: str, since: float) -> list[HeldOut]:
        """See HarvestReader."""

        def read(table: Table) -> list[HeldOut]:
            found = self._outboxes.held_out_since(task, since)
            return found + [_as_held_out(row) for row in self._find_held_out(table, task, since, light=True)]

        return sorted(self._read(read), key=lambda one: one.at)

    def held_out_rows(self, task: str, since: float) -> list[Row]:
        """See HarvestReader."""

        def read(table: Table) -> list[Row]:
            found = self._outboxes.held_out_rows(task, since)
            return found + self._find_held_out(table, task, since, light=False)

        return sorted(self._read(read), key=lambda row: row.at)

    def local_rows(self, task: str) -> list[Row]:
        """See HarvestReader."""

        def read(table: Table) -> list[Row]:
            parts = [part for part in table.select(task) if part.count.local]
            found = self._search(_Query(parts, f"task = ? AND {LOCAL}", [task]))
            return self._outboxes.local_rows(task) + found

        return sorted(self._read(read), key=lambda row: row.at)

    def rows(
        self,
        task: str,
        after: Cursor | None = None,
        *,
        with_messages: bool = True,
        lessons_only: bool = False,
        newest: int | None = None,
    ) -> Batch:
        """See HarvestReader."""

        def read(table: Table) -> Batch:
            batch = self._outboxes.rows(
                task, after, with_messages=with_messages, lessons_only=lessons_only, newest=newest
            )
            where = "task = ?" + (" AND is_lesson" if lessons_only else "")
            query = _Query(table.select(task), where, [task], with_messages=with_messages)
            return self._add_from_parts(batch, query, after, newest)

        return self._read(read)

    def find(self, request_id: str) -> list[Row]:
        """See HarvestReader; looks into every part."""

        def read(table: Table) -> list[Row]:
            found = self._outboxes.find(request_id)
            return found + self._search(_Query(table.select(), "request_id = ?", [request_id]))

        return sorted(self._read(read), key=lambda row: row.at)

    def find_kept(self, request_ids: Sequence[str]) -> set[str]:
        """See HarvestReader; looks into every part."""

        def read(table: Table) -> set[str]:
            where = f"request_id IN ({', '.join('?' * len(request_ids))})"
            query = _Query(table.select(), where, list(request_ids), with_messages=False)
            found = self._search(query) if request_ids else []
            return self._outboxes.find_kept(request_ids) | {row.request_id for row in found}

        return self._read(read)

    def latest(self, count: int, after: Cursor | None = None) -> Batch:
        """See HarvestReader."""

        def read(table: Table) -> Batch:
            batch = self._outboxes.latest(count, after)
            return self._add_from_parts(batch, _Query(table.select()), after, count)

        return self._read(read)

    def refresh(self) -> None:
        """See HarvestReader."""
        self._looked_at = float("-inf")

    def removed(self) -> dict[str, Count]:
        """See HarvestReader."""
        return self._read(lambda table: add_counts(self._outboxes.removed(), table.removed))

    def stats(self) -> Stats:
        """See HarvestReader."""

        def read(table: Table) -> Stats:
            stats = self._outboxes.stats()
            parts = list(table.parts.values())
            oldest, newest = [stats.oldest_at], [stats.newest_at]
            return msgspec.structs.replace(
                stats,
                oldest_at=min(_known([*oldest, *(part.oldest_at for part in parts)]), default=None),
                newest_at=max(_known([*newest, *(part.newest_at for part in parts)]), default=None),
                tasks=add_counts(stats.tasks, count_parts(parts)),
                parts=len(parts),
                parts_bytes=sum(part.size_bytes for part in parts),
            )

        return self._read(read)

    def read_unshipped(self) -> tuple[Table, list[Row]]:
        """Return the table, and the rows that are in none of its parts yet."""

        def read(table: Table) -> tuple[Table, list[Row]]:
            return table, [row for task in self._outboxes.counts() for row in self._outboxes.rows(task).rows]

        return self._read(read)

    def _read(self, read: Callable[[Table], T]) -> T:
        """Return what `read` finds, once outboxes and parts agree."""
        with self._lock:
            try:
                return self._read_in_turn(read)
            except OSError as exc:
                raise StepdownError(f"harvest.parts cannot be read: {exc}") from exc

    def _read_in_turn(self, read: Callable[[Table], T]) -> T:
        now = self._clock()
        if now - self._looked_at > FRESH_FOR_S:
            self._log.refresh()
            self._looked_at = now
        for _ in range(_MOST_ATTEMPTS):
            before = self._log.table
            try:
                return read(before)
            except (_StaleTableError, LostPartError) as exc:
                if self._log.refresh() is before and isinstance(exc, _StaleTableError):
                    self._outboxes.accept_other_storage()
        raise StepdownError("harvest.parts: parts are gone that manifests name: restore a backup of them")

    def _add_from_parts(self, batch: Batch, query: _Query, after: Cursor | None, newest: int | None) -> Batch:
        wanted = find_wanted(self._log.table, self._outboxes.files, after or {})
        if after:
            clause, values = wanted.where()
            parts = [part for part in query.parts if wanted.covers(part)]
            query = query.narrow(parts, f" AND {clause}", values)
        if newest is not None:
            query = query.narrow(_select_newest(query.parts, newest), ' ORDER BY "at" DESC LIMIT ?', [newest])
        keys = {*batch.cursor, *wanted.cursor}
        cursor = {key: max(batch.cursor.get(key, 0), wanted.cursor.get(key, 0)) for key in keys}
        rows = sorted([*batch.rows, *self._search(query)], key=lambda row: row.at)
        return Batch(rows if newest is None else rows[-newest:], cursor)

    def _find_held_out(self, table: Table, task: str, since: float, *, light: bool) -> list[Row]:
        parts = [part for part in table.select(task, since) if part.count.held_out]
        drawn = 'is_held_out AND propensity > 0 AND "at" >= ?'
        return self._search(_Query(parts, drawn, [since], with_messages=not light))

    def _search(self, query: _Query) -> list[Row]:
        found = read_rows(
            query.parts,
            self._log.storage,
            query.where,
            query.parameters,
            with_messages=query.with_messages,
        )
        return [one.row for one in found]


def _count(table: Table) -> dict[str, Count]:
    return count_parts(table.parts.values())


def _known(times: Sequence[float | None]) -> list[float]:
    return [at for at in times if at is not None]


def _as_held_out(row: Row) -> HeldOut:
    return HeldOut(
        request_id=row.request_id,
        at=row.at,
        text_hash=hash_text(row.text),
        caller=row.caller,
        is_vouched_for=row.is_vouched_for,
    )


def _select_newest(parts: Sequence[Part], count: int) -> list[Part]:
    """Return the parts that can hold one of the newest `count` rows."""
    chosen: list[Part] = []
    rows = 0
    for part in sorted(parts, key=lambda one: one.newest_at, reverse=True):
        if rows >= count and part.newest_at < min(one.oldest_at for one in chosen):
            break
        chosen.append(part)
        rows += part.rows
    return chosen
