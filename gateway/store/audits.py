"""The log of audited answers, in the same order for every process."""

from __future__ import annotations

import threading
from collections import deque

from gateway.core import Audit
from gateway.store.database import Database

_SCHEMA = """
CREATE TABLE IF NOT EXISTS audits (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    task TEXT NOT NULL,
    lane TEXT NOT NULL,
    version INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    loss REAL NOT NULL,
    score REAL NOT NULL,
    accepted INTEGER NOT NULL
);
"""
_COLUMNS = "at, task, lane, version, epoch, loss, score, accepted"


class AuditLog:
    """Takes audits without blocking; every process reads them in one order.

    `capacity` bounds the audits that wait for `flush`; more are dropped and counted. That makes
    evidence scarcer but not biased: whether an audit is dropped does not depend on its loss.
    """

    def __init__(self, database: Database, capacity: int = 10_000) -> None:
        self.dropped = 0
        self._database = database
        self._capacity = capacity
        self._waiting: deque[Audit] = deque()
        self._flushing = threading.Lock()
        database.create(_SCHEMA)

    def put(self, audit: Audit) -> None:
        """Take `audit`; it is visible to others after `flush`. Never blocks."""
        if len(self._waiting) >= self._capacity:
            self.dropped += 1
        else:
            self._waiting.append(audit)

    def flush(self) -> None:
        """Write what waits. May block. Raises sqlite3.Error and then keeps the audits."""
        with self._flushing:
            batch = list(self._waiting)
            if not batch:
                return
            with self._database.write() as connection:
                connection.executemany(
                    f"INSERT INTO audits ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
                    [_to_row(audit) for audit in batch],
                )
            for _ in batch:
                self._waiting.popleft()

    def since(self, seq: int) -> list[tuple[int, Audit]]:
        """Return the audits written after number `seq`, oldest first, each with its number.

        Numbers grow in the order of writing over all processes; none is used twice.
        """
        rows = self._database.read(
            f"SELECT seq, {_COLUMNS} FROM audits WHERE seq > ? ORDER BY seq",  # noqa: S608
            (seq,),
        )
        return [(row[0], _to_audit(row[1:])) for row in rows]

    def prune(self, before: float) -> int:
        """Delete the audits older than `before` (unix seconds); return how many."""
        with self._database.write() as connection:
            return connection.execute("DELETE FROM audits WHERE at < ?", (before,)).rowcount


_AuditRow = tuple[float, str, str, int, int, float, float, bool]


def _to_row(audit: Audit) -> _AuditRow:
    return (
        audit.at,
        audit.task,
        audit.lane,
        audit.version,
        audit.epoch,
        audit.loss,
        audit.score,
        audit.accepted,
    )


def _to_audit(row: _AuditRow) -> Audit:
    at, task, lane, version, epoch, loss, score, accepted = row
    return Audit(
        at=at,
        task=task,
        lane="fingerprint" if lane == "fingerprint" else "embedding",
        version=version,
        epoch=epoch,
        loss=loss,
        score=score,
        accepted=bool(accepted),
    )
