"""The log of every decision, found by request id; the ledger is a part of each record."""

from __future__ import annotations

import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

from gateway.store.database import Database, insert_rows
from gateway.store.decision_codec import DecisionCodec
from gateway.store.decision_record import DecisionRecord
from gateway.store.decision_retention import KEPT_IN_FULL, Retention
from gateway.store.ledger_row import LedgerRow
from gateway.store.quarantine import Quarantine

# While the disk is full, records wait in memory up to so many (30 MB).
MOST_WAITING = 20_000
MOST_AT_ONCE = 2_000
"""Records per transaction: a longer one would keep the other workers waiting."""
# Ids begin with the time: a look-up reads the end of the index, and writing touches few of its pages.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS decisions (
    number INTEGER PRIMARY KEY,
    id INTEGER NOT NULL,
    at REAL NOT NULL,
    weight REAL NOT NULL DEFAULT 0,
    body BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS decisions_by_id ON decisions (id);
"""
_COLUMNS = ("id", "at", "body")
_BATCH = 2_000
# Most readers look at the newest alone, again and again.
_FIRST_BATCH = 50


class DecisionLog:
    """Takes records without blocking; `flush` writes them. The file is opened when it is first needed.

    All counts are exact: a record is waiting, written, or dropped. Beyond `kept_in_full` records the
    older ones are a weighted sample; see decision_retention.
    """

    def __init__(self, open_database: Callable[[], Database], kept_in_full: int = KEPT_IN_FULL) -> None:
        self.dropped = 0
        self._open_database = open_database
        self._database: Database | None = None
        self._kept_in_full = kept_in_full
        self._lock = threading.Lock()
        self._flushing = threading.Lock()
        self._opening = threading.Lock()
        self._waiting: deque[DecisionRecord] = deque()
        self._quarantine = Quarantine("decisions", "it is left out")
        self._codec: DecisionCodec | None = None
        self._retention: Retention | None = None

    @property
    def waiting(self) -> int:
        """How many records are not written yet."""
        return len(self._waiting)

    @property
    def oldest_wait_s(self) -> float:
        """How long ago the oldest request ended whose record is not written yet; 0 if all are."""
        with self._lock:
            return max(0.0, time.time() - self._waiting[0].row.at) if self._waiting else 0.0

    def put(self, record: DecisionRecord) -> None:
        """Take `record`, from any thread; the oldest that waits is dropped for it if there are too many."""
        with self._lock:
            self._waiting.append(record)
            if len(self._waiting) > MOST_WAITING:
                self._waiting.popleft()
                self.dropped += 1

    def flush(self) -> None:
        """Write what waits. May block. Raises sqlite3.Error or ConfigError and then keeps the records."""
        with self._flushing:
            while batch := self._take():
                try:
                    self._write(batch)
                except BaseException:
                    self._give_back(batch)
                    raise
                self._find_retention().note_written(len(batch))

    def give_up(self) -> int:
        """Drop what waits: the disk does not take it, and this process ends. Return how much it was."""
        lost = len(self._waiting)
        self._waiting.clear()
        self.dropped += lost
        return lost

    def close(self) -> None:
        """Write what waits and close the file. Raises as `flush`; what it could not write is then dropped."""
        try:
            self.flush()
        finally:
            self.give_up()
            if self._database is not None:
                self._database.close()
                self._database = None

    def find(self, request_id: str) -> list[DecisionRecord]:
        """Return the records of one request, oldest first: more than one if its usage came later."""
        rows = self._read("WHERE id = ? ORDER BY number", (_key_of(request_id),))
        return [record for record in self._decode(rows) if record.row.request_id == request_id]

    def newest(self, count: int, is_wanted: Callable[[DecisionRecord], bool]) -> list[DecisionRecord]:
        """Return the last `count` records that are wanted, newest first."""
        return list(islice(filter(is_wanted, self._iterate_backwards()), count))

    def forget(self, is_wanted: Callable[[DecisionRecord], bool], limit_s: float) -> tuple[int, bool]:
        """Delete the records that are wanted and overwrite their bytes; may take seconds per million.

        Returns how many, and whether every trace is gone: a reader may keep the log of the file busy for
        longer than `limit_s`.
        """
        database = self._find_database()
        database.wipe_deletions()
        found, number = [], 1 << 62
        while rows := self._read("WHERE number < ? ORDER BY number DESC LIMIT ?", (number, _BATCH)):
            # Those aside that await their deletion are looked at, too.
            for row in rows:
                record = next(self._quarantine.read_rows([row], self._decode_row), None)
                if record is not None and is_wanted(record):
                    found.append((row[0],))
            number = rows[-1][0]
        if found:
            with database.write() as connection:
                connection.executemany("DELETE FROM decisions WHERE number = ?", found)
        # Without any, too: a call that was killed may have deleted them and left their bytes in the log.
        return len(found), database.empty_log(limit_s)

    def iterate(self, since: float = 0.0, until: float = float("inf")) -> Iterator[LedgerRow]:
        """Yield the ledger's rows from `since` to before `until`, in unix seconds, in the order of writing.

        Only of the time of which every record is there.
        """
        number = self._find_retention().full_from() - 1
        while True:
            where = "WHERE number > ? AND at >= ? AND at < ? ORDER BY number LIMIT ?"
            rows = self._read(where, (number, since, min(until, 1e300), _BATCH))
            booked = self._quarantine.read_rows(rows, self._decode_booked)
            yield from (row for row in booked if row is not None)
            if len(rows) < _BATCH:
                return
            number = rows[-1][0]

    def count(self) -> int:
        """Return how many records there are, those aside that are about to be deleted."""
        where = "WHERE number >= ? OR weight > 0"
        sql = f"SELECT count(*) FROM decisions {where}"  # noqa: S608 - a constant
        return int(self._find_database().read(sql, (self._find_retention().full_from(),))[0][0])

    def begins_at(self) -> float | None:
        """Return since when every record is there, in unix seconds; None without any."""
        rows = self._find_database().read(
            "SELECT at FROM decisions WHERE number >= ? ORDER BY number LIMIT 1",
            (self._find_retention().full_from(),),
        )
        return float(rows[0][0]) if rows else None

    def has_dropped(self) -> bool:
        """Return whether records were deleted."""
        return self._find_retention().full_from() > 1

    def _iterate_backwards(self) -> Iterator[DecisionRecord]:
        number, size = 1 << 62, _FIRST_BATCH
        while rows := self._read("WHERE number < ? ORDER BY number DESC LIMIT ?", (number, size)):
            yield from self._decode(rows)
            number, size = rows[-1][0], min(_BATCH, 4 * size)

    def _take(self) -> list[DecisionRecord]:
        with self._lock:
            return [self._waiting.popleft() for _ in range(min(MOST_AT_ONCE, len(self._waiting)))]

    def _give_back(self, batch: list[DecisionRecord]) -> None:
        with self._lock:
            self._waiting.extendleft(reversed(batch))
            while len(self._waiting) > MOST_WAITING:
                self._waiting.popleft()
                self.dropped += 1

    def _write(self, batch: Sequence[DecisionRecord]) -> None:
        database, codec = self._find_database(), self._find_codec()
        with codec.begin(), database.write() as connection:
            rows = [
                (_key_of(record.row.request_id), record.row.at, codec.encode(record, connection))
                for record in batch
            ]
            insert_rows(connection, "decisions", _COLUMNS, rows)

    def _read(self, where: str, parameters: Sequence[object]) -> list[Any]:
        sql = f"SELECT number, at, weight, body FROM decisions {where}"  # noqa: S608 - from our own code
        return self._find_database().read(sql, parameters)

    def _decode(self, rows: Sequence[Any]) -> Iterator[DecisionRecord]:
        full_from = self._find_retention().full_from()
        kept = (row for row in rows if row[2] or row[0] >= full_from)
        return self._quarantine.read_rows(kept, self._decode_row)

    def _decode_booked(self, row: tuple[int, float, float, bytes]) -> LedgerRow | None:
        """Return the ledger's part alone: a report reads a million of them."""
        return self._find_codec().decode_booked(row[3], row[1])

    def _decode_row(self, row: tuple[int, float, float, bytes]) -> DecisionRecord:
        _, at, weight, body = row
        return self._find_codec().decode(body, at, weight or 1.0)

    def _find_database(self) -> Database:
        with self._opening:
            if self._database is None:
                database = self._open_database()
                database.create(_SCHEMA)
                self._codec = DecisionCodec(database)
                self._retention = Retention(database, self._kept_in_full, self._codec.classify)
                self._database = database
            return self._database

    def _find_codec(self) -> DecisionCodec:
        self._find_database()
        assert self._codec is not None
        return self._codec

    def _find_retention(self) -> Retention:
        self._find_database()
        assert self._retention is not None
        return self._retention


def _key_of(request_id: str) -> int:
    """Return the number by which a request is found: half of its id; more than one request may have it."""
    try:
        return int(request_id[:16], 16) >> 1
    except ValueError:
        return zlib.crc32(request_id.encode())
