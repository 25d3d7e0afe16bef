"""The log of audited answers, in the same order for every process."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from typing import Any

import msgspec

from gateway.core import Audit, RiskTarget
from gateway.store.database import Database
from gateway.store.quarantine import Quarantine

# Losses by a target's own agreement stand beside that target in the column `accepted`.
COLUMNS = tuple(name for name in Audit.__struct_fields__ if name != "graded")
"""Of the table, in its order, without the number that each process reads by."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS audits (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    request_id TEXT NOT NULL,
    at REAL NOT NULL,
    task TEXT NOT NULL,
    stratum TEXT NOT NULL,
    template TEXT NOT NULL,
    place TEXT NOT NULL,
    is_on_probation INTEGER NOT NULL,
    text_hash TEXT NOT NULL,
    caller TEXT NOT NULL,
    is_vouched_for INTEGER NOT NULL,
    propensity REAL NOT NULL,
    version INTEGER NOT NULL,
    loss REAL NOT NULL,
    score REAL NOT NULL,
    passes_as_new INTEGER,
    accepted TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS audits_by_time ON audits (at);
"""
_NAMES = ", ".join(COLUMNS)
_INSERT = f"INSERT INTO audits ({_NAMES}) VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608
_SINCE = f"SELECT seq, {_NAMES} FROM audits WHERE seq > ? ORDER BY seq"  # noqa: S608


class _Accepted(RiskTarget, frozen=True):
    """A target under which the client would have got the draft, as the column `accepted` lists it."""

    loss: float | None = None


_accepted = msgspec.json.Decoder(tuple[_Accepted, ...])


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
        self._quarantine = Quarantine("audits", "evidence is read without it")
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
                connection.executemany(_INSERT, [_to_row(audit) for audit in batch])
            for _ in batch:
                self._waiting.popleft()

    def give_up(self) -> int:
        """Drop what waits: the disk does not take it, and this process ends. Return how much it was."""
        lost = len(self._waiting)
        self._waiting.clear()
        self.dropped += lost
        return lost

    def since(self, seq: int) -> list[tuple[int, Audit]]:
        """Return the audits written after number `seq`, oldest first, each with its number.

        Numbers grow in the order of writing over all processes; none is used twice.
        """
        rows = self._database.read(_SINCE, (seq,))
        return list(self._quarantine.read_rows(rows, lambda row: (row[0], _to_audit(row[1:]))))

    def prune(self, before: float) -> int:
        """Delete the audits older than `before` (unix seconds); return how many."""
        with self._database.write() as connection:
            return connection.execute("DELETE FROM audits WHERE at < ?", (before,)).rowcount

    def forget(self, request_ids: Sequence[str]) -> int:
        """Delete the audits of these requests; return how many."""
        with self._database.write() as connection:
            return sum(
                connection.execute("DELETE FROM audits WHERE request_id = ?", (each,)).rowcount
                for each in request_ids
            )


def _to_row(audit: Audit) -> tuple[object, ...]:
    # SQLite's integers are signed, and its columns hold no lists.
    facts = msgspec.structs.asdict(audit)
    facts["text_hash"] = f"{audit.text_hash:016x}"
    del facts["graded"]
    accepted = [
        _Accepted(**msgspec.structs.asdict(target), loss=audit.loss_for(number) if audit.graded else None)
        for number, target in enumerate(audit.accepted)
    ]
    facts["accepted"] = msgspec.json.encode(accepted).decode()
    return tuple(facts.values())


def _to_audit(row: tuple[Any, ...]) -> Audit:
    facts = dict(zip(COLUMNS, row, strict=True))
    facts["text_hash"] = int(facts["text_hash"], 16)
    accepted = _accepted.decode(facts["accepted"])
    facts["accepted"] = [
        RiskTarget(one.alpha, one.delta, one.days, one.agreement, one.evidence) for one in accepted
    ]
    facts["graded"] = [one.loss for one in accepted if one.loss is not None]
    return msgspec.convert(facts, Audit, strict=False)
