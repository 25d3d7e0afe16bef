"""The outbox of one worker: rows become durable in a thread of their own.

A worker has one file, so that workers never wait for each other. Whatever happens to the
disk, the caller of `put` never notices more than a count of dropped rows.
"""

from __future__ import annotations

import logging
import queue
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec

from gateway.harvest.base import Row
from gateway.harvest.table import create, insert
from gateway.store.database import Database

logger = logging.getLogger(__name__)

# Rows beyond their texts: keys, numbers, Python's own overhead; measured at 600-900 bytes.
ROW_OVERHEAD_BYTES = 1024

# An integer beyond 64 bits, text which is no Unicode, a value over SQLite's size limit.
_UNSTORABLE = (OverflowError, ValueError, sqlite3.DataError)


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds of the queue, and how many rows share one trip to the disk.

    `linger_s` is the longest a lone row waits for company.
    """

    max_rows: int = 20_000
    max_bytes: int = 64 << 20
    batch_rows: int = 256
    linger_s: float = 0.05
    retry_s: float = 1.0


class Outbox:
    """A Sink which writes to a SQLite file. `put` may be called from one thread at a time.

    `accepted`, `dropped` (queue full, or left over when closed on a broken disk), `written`
    and `faults` (failed attempts to write) only grow.
    """

    def __init__(self, path: Path, config: Config | None = None) -> None:
        self.path = path
        self.accepted = 0
        self.dropped = 0
        self.written = 0
        self.faults = 0
        self._config = config or Config()
        self._accepted_bytes = 0
        self._settled_rows = 0
        self._settled_bytes = 0
        self._queue: queue.SimpleQueue[Row | threading.Event | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._is_wanted = threading.Event()
        self._database: Database | None = None
        self._thread = threading.Thread(target=self._run, name="harvest-outbox", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many accepted rows are not yet durable."""
        return self.accepted - self._settled_rows

    def put(self, row: Row) -> bool:
        """Accept `row` without blocking; False when the queue is full and it was dropped."""
        # Each counter has one writer, this thread or the outbox's own: no lock is needed.
        waiting_bytes = self._accepted_bytes - self._settled_bytes
        is_full = self.waiting >= self._config.max_rows or waiting_bytes >= self._config.max_bytes
        if is_full or self._closing.is_set():
            self.dropped += 1
            return False
        self.accepted += 1
        self._accepted_bytes += _size(row)
        self._queue.put(row)
        return True

    def flush(self) -> None:
        """Return when every row accepted before is durable, or as soon as a write fails."""
        done = threading.Event()
        faults = self.faults
        self._queue.put(done)
        self._is_wanted.set()
        while self._thread.is_alive() and self.faults == faults and not done.wait(0.05):
            pass

    def close(self) -> None:
        """Flush, then free the file; what a broken disk refuses once more is dropped and counted."""
        self._closing.set()
        self._queue.put(None)
        self._is_wanted.set()
        self._thread.join()

    def _run(self) -> None:
        is_open = True
        while is_open:
            batch, waiters, is_open = self._gather()
            self._settle(batch, waiters)
        if self._database is not None:
            self._database.close()

    def _gather(self) -> tuple[list[Row], list[threading.Event], bool]:
        """Return the rows for one commit and who waits for it; False when the outbox closes."""
        batch: list[Row] = []
        waiters: list[threading.Event] = []
        for item in self._awaited():
            if item is None:
                return batch, waiters, False
            if isinstance(item, threading.Event):
                waiters.append(item)
            else:
                batch.append(item)
        return batch, waiters, True

    def _awaited(self) -> Iterator[Row | threading.Event | None]:
        """Yield what waits for one commit, after a pause for company unless somebody is in a hurry."""
        yield self._queue.get()
        if self._queue.qsize() < self._config.batch_rows:
            # One pause, not one wait a row: a thread which wakes takes the interpreter from the event loop.
            self._is_wanted.wait(self._config.linger_s)
            self._is_wanted.clear()
        for _ in range(min(self._queue.qsize(), self._config.batch_rows)):
            yield self._queue.get()

    def _settle(self, batch: list[Row], waiters: list[threading.Event]) -> None:
        """Write `batch`, again and again until the disk takes it or the outbox closes."""
        is_last_try = False
        while batch and not self._write(batch):
            if is_last_try:
                self.dropped += len(batch)
                break
            is_last_try = self._closing.wait(self._config.retry_s)
        self._settled_rows += len(batch)
        self._settled_bytes += sum(map(_size, batch))
        for waiter in waiters:
            waiter.set()

    def _write(self, batch: list[Row]) -> bool:
        try:
            self._commit(batch)
        except _UNSTORABLE:
            self._write_singly(batch)
        except (sqlite3.Error, OSError) as fault:
            self._failed(fault)
            return False
        else:
            self.written += len(batch)
        return True

    def _write_singly(self, batch: list[Row]) -> None:
        """Drop the rows which SQLite cannot hold at all, so that they do not hold up the rest."""
        for row in batch:
            try:
                self._commit([row])
                self.written += 1
            except (*_UNSTORABLE, sqlite3.Error, OSError) as fault:
                self.dropped += 1
                logger.warning("row %s cannot be harvested: %s", row.request_id, type(fault).__name__)

    def _commit(self, batch: list[Row]) -> None:
        if self._database is None:
            self._database = _open(self.path)
        with self._database.write() as connection:
            insert(connection, batch)

    def _failed(self, fault: Exception) -> None:
        self.faults += 1
        if self.faults == 1 or self.faults % 100 == 0:
            logger.error("harvest cannot be written to %s (attempt %d): %s", self.path, self.faults, fault)
        # A connection which met a full disk or a lost file may stay broken: start afresh.
        if self._database is not None:
            self._database.close()
            self._database = None


def _open(path: Path) -> Database:
    database = Database(path, synchronous="FULL")
    create(database)
    return database


def _size(row: Row) -> int:
    return ROW_OVERHEAD_BYTES + len(row.messages) + len(row.text) + len(row.template_text) + len(row.answer)
