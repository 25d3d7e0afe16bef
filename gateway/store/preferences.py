"""What people said of answers that a specialist and the teacher gave to the same request; no texts."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from gateway.store.database import Database

Verdict = Literal["local", "teacher", "same", "neither"]
"""The better answer: the specialist's, the teacher's, both as good, both wrong."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS preferences (
    request_id TEXT PRIMARY KEY,
    task TEXT NOT NULL,
    verdict TEXT NOT NULL,
    actor TEXT NOT NULL,
    at REAL NOT NULL
);
"""


class Preference(msgspec.Struct, frozen=True):
    """One judgement, by the actor of the audit trail; `at` is unix seconds."""

    request_id: str
    task: str
    verdict: Verdict
    actor: str
    at: float


class PreferenceStore:
    """Keeps judgements. Every method may block."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        database.create(_SCHEMA)

    def put(self, request_id: str, task: str, verdict: Verdict, actor: str) -> None:
        """Keep a judgement in place of an earlier one."""
        row = (request_id, task, verdict, actor, self._clock())
        with self._database.write() as connection:
            connection.execute("INSERT OR REPLACE INTO preferences VALUES (?, ?, ?, ?, ?)", row)

    def all(self) -> dict[str, Preference]:
        """Return every judgement by request id."""
        rows = self._database.read("SELECT request_id, task, verdict, actor, at FROM preferences")
        return {row[0]: Preference(*row) for row in rows}

    def forget(self, request_ids: Sequence[str]) -> None:
        """Delete the judgements of these requests."""
        with self._database.write() as connection:
            ids = [(each,) for each in request_ids]
            connection.executemany("DELETE FROM preferences WHERE request_id = ?", ids)
