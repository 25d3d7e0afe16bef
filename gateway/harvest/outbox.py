"""The outbox of one worker: its own thread makes rows durable."""

from __future__ import annotations

import logging
import sqlite3
import time
from pathlib import Path

import msgspec

from gateway.background.bounded_queue import BoundedQueue
from gateway.config.bounds import NonNegativeFloat, PositiveFloat, PositiveInt
from gateway.errors import ConfigError
from gateway.harvest.base import Row, measure_texts
from gateway.harvest.redaction import RowRedactor
from gateway.harvest.shared_templates import TemplateSharer
from gateway.harvest.table import create, insert
from gateway.store.database import Database

logger = logging.getLogger(__name__)

# Rows beyond their texts: keys, numbers, Python's own overhead; measured at 600-900 bytes.
ROW_OVERHEAD_BYTES = 1024

# An integer beyond 64 bits, text that is not Unicode, a value over SQLite's size limit.
_UNSTORABLE = (OverflowError, ValueError, sqlite3.DataError)


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds of the queue, and how many rows share one trip to the disk.

    `linger_s` is the longest a lone row waits for company.
    """

    max_queue_rows: PositiveInt = 20_000
    max_queue_mb: PositiveInt = 64
    batch_rows: PositiveInt = 256
    linger_s: NonNegativeFloat = 0.1
    retry_s: PositiveFloat = 1.0


class Outbox(BoundedQueue[Row]):
    """A Sink that writes to a SQLite file, one per worker, so that workers never wait for each other.

    Whatever happens to the disk, the caller of `put` notices no more than a count of dropped rows.
    `written` rows and `faults` (failed attempts to write) only grow.
    """

    def __init__(self, path: Path, config: Config | None = None) -> None:
        config = config or Config()
        self.path = path
        self.written = 0
        self.faults = 0
        self._redactor = RowRedactor()
        self._sharer = TemplateSharer()
        self._retry_s = config.retry_s
        self._batch_rows = config.batch_rows
        self._database: Database | None = None
        super().__init__(
            "harvest-outbox",
            max_items=config.max_queue_rows,
            max_bytes=config.max_queue_mb << 20,
            batch_items=config.batch_rows,
            linger_s=config.linger_s,
        )

    def flush(self) -> None:
        """Return when every row accepted before is durable, or as soon as a write fails."""
        faults = self.faults
        self._flush_until(lambda: self.faults != faults)

    def _handle(self, batch: list[Row]) -> int:
        """Write `batch`, again and again until the disk takes it or the outbox is stopped."""
        is_last_try = False
        while (lost := self._write(batch)) is None:
            if is_last_try:
                return len(batch)
            is_last_try = self._stopping.wait(self._retry_s)
        self.written += len(batch) - lost
        return lost

    def _size_of(self, item: Row) -> int:
        return ROW_OVERHEAD_BYTES + measure_texts(item)

    def _finish(self) -> None:
        if self._database is not None:
            self._database.close()

    def _write(self, batch: list[Row]) -> int | None:
        """Return how many rows of `batch` cannot be stored at all; None if the disk failed."""
        try:
            self._commit(batch)
        except _UNSTORABLE:
            return self._write_singly(batch)
        except (sqlite3.Error, OSError, ConfigError) as exc:
            # A ConfigError: the file cannot be opened, because the disk is full or the file is damaged.
            self._note_fault(exc)
            return None
        return 0

    def _write_singly(self, batch: list[Row]) -> int:
        """Leave out the rows that SQLite cannot hold, so that they do not hold up the rest."""
        lost = 0
        for row in batch:
            try:
                self._commit([row])
            except (*_UNSTORABLE, sqlite3.Error, OSError, ConfigError) as exc:
                lost += 1
                logger.warning("row %s cannot be harvested: %s", row.request_id, type(exc).__name__)
        return lost

    def _commit(self, batch: list[Row]) -> None:
        if self._database is None:
            self._database = _open(self.path)
        rows = [self._redact(row, has_time=len(batch) < self._batch_rows) for row in batch]
        with self._database.write() as connection:
            insert(connection, rows, self._sharer)

    def _redact(self, row: Row, *, has_time: bool) -> Row:
        if not row.private_kinds:
            return row
        begun = time.perf_counter()
        redacted = self._redactor.redact_row(row)
        if has_time and not self._stopping.is_set():
            # The event loop shares the interpreter with this thread: it waits for one row, not for all.
            time.sleep(time.perf_counter() - begun)
        return redacted

    def _note_fault(self, exc: Exception) -> None:
        self.faults += 1
        if self.faults == 1 or self.faults % 100 == 0:
            logger.error("harvest cannot be written to %s (attempt %d): %s", self.path, self.faults, exc)
        # A connection that met a full disk or a lost file may stay broken: open a new one.
        if self._database is not None:
            self._database.close()
            self._database = None


def _open(path: Path) -> Database:
    database = Database(path, synchronous="FULL")
    create(database)
    return database
