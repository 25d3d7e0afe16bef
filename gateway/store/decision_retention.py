"""What stays of the decision records: all of the newest, of older ones a weighted sample, for 30 days.

Once there are more than `kept_in_full`, the oldest hour is judged as a whole: audits, refusals of known
keys, errors and hedges all stay, and of each task and decision MOST_OF_AN_HOUR at random, each with the
number of requests that it stands for. The judgement is one small transaction; the rest of the hour is
deleted afterwards in small steps, by any process, so that no writer waits for long.
"""

from __future__ import annotations

import heapq
import math
import zlib
from collections.abc import Callable, Iterator

from gateway.store.database import Database

KEPT_IN_FULL = 1_000_000
"""Records, of about 150 bytes."""
MOST_OF_AN_HOUR = 100
"""Records of one task and decision in an hour."""
KEPT_S = 30 * 86_400.0
"""Before the newest record."""
MOST_BYTES = 1 << 30
"""Of the file, whatever is in it: then the oldest go."""

# Looking for what to delete costs as much as writing some hundred records.
_PRUNE_EVERY = 5_000
_DELETE_AT_ONCE = 2_000
_READ_AT_ONCE = 500
_HOUR_S = 3600.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS decision_marks (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    full_from INTEGER NOT NULL,
    swept_to INTEGER NOT NULL
);
INSERT OR IGNORE INTO decision_marks VALUES (1, 1, 1);
"""

Classify = Callable[[bytes], tuple[bool, object]]
"""Returns of a record's body whether it must stay, and the stratum that it is sampled in."""


class Retention:
    """Deletes what need not stay, a step for every few thousand records written."""

    def __init__(self, database: Database, kept_in_full: int, classify: Classify) -> None:
        self._database = database
        self._kept_in_full = kept_in_full
        self._classify = classify
        self._until_step = 0
        database.create(_SCHEMA)

    def full_from(self) -> int:
        """Return the number of the first record since when every one is there."""
        return self._marks()[0]

    def note_written(self, count: int) -> None:
        """Take a step if it is time. May block; raises sqlite3.Error."""
        self._until_step -= count
        if self._until_step <= 0:
            self._until_step = min(_PRUNE_EVERY, self._kept_in_full)
            self.take_step()

    def take_step(self) -> None:
        """Judge the oldest hour if there are too many records, and delete some of what must go."""
        full_from, swept_to = self._marks()
        ((newest,),) = self._database.read("SELECT coalesce(max(number), 0) FROM decisions")
        # More than is written between two steps: a quiet hour has few records.
        enough = full_from + 2 * _PRUNE_EVERY
        while newest - full_from >= self._kept_in_full and full_from < enough:
            self._judge_hour(full_from, newest - self._kept_in_full // 2)
            full_from = self.full_from()
        self._sweep(swept_to)
        self._delete_old()

    def _judge_hour(self, full_from: int, last: int) -> None:
        """Choose what stays of the oldest hour, up to record `last`.

        Another process that was faster has done the same.
        """
        strata: dict[object, list[tuple[int, int]]] = {}
        sizes: dict[object, int] = {}
        kept: dict[int, float] = {}
        end = full_from
        for number, record_id, body in self._read_hour(full_from, last):
            end = number + 1
            must_stay, stratum = self._classify(body)
            if must_stay:
                kept[number] = 1.0
                continue
            sizes[stratum] = sizes.get(stratum, 0) + 1
            sample = strata.setdefault(stratum, [])
            # The hash of its id is a draw that nothing else depends on; the smallest stay.
            entry = (-zlib.crc32(b"%d" % record_id), number)
            (heapq.heappush if len(sample) < MOST_OF_AN_HOUR else heapq.heappushpop)(sample, entry)
        for stratum, sample in strata.items():
            kept |= {number: sizes[stratum] / len(sample) for _, number in sample}
        with self._database.write() as connection:
            if connection.execute("SELECT full_from FROM decision_marks").fetchone() != (full_from,):
                return
            connection.executemany(
                "UPDATE decisions SET weight = ? WHERE number = ?",
                [(weight, number) for number, weight in kept.items()],
            )
            connection.execute("UPDATE decision_marks SET full_from = ?", (end,))

    def _read_hour(self, full_from: int, last: int) -> Iterator[tuple[int, int, bytes]]:
        """Yield number, id and body of the records from `full_from` to the end of its hour."""
        number, end_at = full_from - 1, math.inf
        while rows := self._database.read(
            "SELECT number, id, at, body FROM decisions WHERE number > ? AND number <= ? "
            "ORDER BY number LIMIT ?",
            (number, last, _READ_AT_ONCE),
        ):
            end_at = min(end_at, (rows[0][2] // _HOUR_S + 1) * _HOUR_S)
            for number, record_id, at, body in rows:
                if at >= end_at:
                    return
                yield number, record_id, body

    def _sweep(self, swept_to: int) -> None:
        full_from = self._marks()[0]
        # More than is written between two steps, or the sweep would never catch up.
        for _ in range(2 * _PRUNE_EVERY // _DELETE_AT_ONCE):
            if swept_to >= full_from:
                return
            end = min(swept_to + _DELETE_AT_ONCE, full_from)
            with self._database.write() as connection:
                connection.execute(
                    "DELETE FROM decisions WHERE number >= ? AND number < ? AND weight = 0", (swept_to, end)
                )
                connection.execute("UPDATE decision_marks SET swept_to = max(swept_to, ?)", (end,))
            swept_to = end

    def _delete_old(self) -> None:
        order = "SELECT at FROM decisions ORDER BY number"
        oldest, newest = (self._database.read(f"{order} {way} LIMIT 1") for way in ("ASC", "DESC"))
        before = 1e300 if self._size_bytes() > MOST_BYTES else newest[0][0] - KEPT_S
        if oldest[0][0] >= before:
            return
        first = "SELECT number FROM decisions ORDER BY number LIMIT ?"
        with self._database.write() as connection:
            gone = connection.execute(
                f"DELETE FROM decisions WHERE number IN ({first}) AND at < ? RETURNING number",  # noqa: S608
                (2 * _PRUNE_EVERY, before),
            ).fetchall()
            after = max((number for (number,) in gone), default=0) + 1
            connection.execute(
                "UPDATE decision_marks SET full_from = max(full_from, ?), swept_to = max(swept_to, ?)",
                (after, after),
            )

    def _size_bytes(self) -> int:
        pragmas = ("page_count", "freelist_count", "page_size")
        pages, free, size = (self._database.read(f"PRAGMA {name}")[0][0] for name in pragmas)
        return int((pages - free) * size)

    def _marks(self) -> tuple[int, int]:
        ((full_from, swept_to),) = self._database.read("SELECT full_from, swept_to FROM decision_marks")
        return full_from, swept_to
