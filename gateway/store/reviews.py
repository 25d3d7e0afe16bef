"""What people say of answers: the verdicts of reviewers, and the feedback of apps."""

from __future__ import annotations

import math
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Literal

import msgspec

from gateway.store.database import Database

VerdictKind = Literal["accept", "correct", "exclude"]
Rating = Literal["up", "down", ""]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS verdicts (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    request_id TEXT NOT NULL,
    task TEXT NOT NULL,
    kind TEXT NOT NULL,
    text_hash TEXT NOT NULL,
    answer_hash TEXT NOT NULL,
    answer TEXT NOT NULL,
    is_held_out INTEGER NOT NULL,
    at REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS verdicts_by_task ON verdicts (task);
CREATE TABLE IF NOT EXISTS review_changes (task TEXT PRIMARY KEY, count INTEGER NOT NULL, at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS feedback (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    request_id TEXT NOT NULL,
    tenant TEXT NOT NULL,
    caller TEXT NOT NULL,
    rating TEXT NOT NULL,
    answer TEXT NOT NULL,
    at REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS last_forget (id INTEGER PRIMARY KEY CHECK (id = 1), at REAL NOT NULL);
"""
_CHANGED = """
INSERT INTO review_changes VALUES (?, 1, ?)
ON CONFLICT (task) DO UPDATE SET count = count + 1, at = excluded.at
"""
_FORGOT = "INSERT OR REPLACE INTO last_forget VALUES (1, ?)"


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What a reviewer decided about an answer of the teacher to a text.

    It speaks of every row of its task with that text and that answer, by their hashes: the teacher may
    have made the same mistake more than once. `answer` is the right one, of a correction alone.
    """

    request_id: str
    task: str
    kind: VerdictKind
    text_hash: str
    answer_hash: str
    answer: str = ""
    is_held_out: bool = False
    """Whether it was given on evidence, where it changes nothing that may be learnt."""
    at: float = 0.0

    @property
    def changes_lessons(self) -> bool:
        """Whether another version would learn something else."""
        return self.kind != "accept" and not self.is_held_out


class Feedback(msgspec.Struct, frozen=True, kw_only=True):
    """What an app says of the answer to one of its requests; `answer` is what it should have been."""

    request_id: str
    tenant: str
    caller: str
    rating: Rating = ""
    answer: str = ""
    at: float = 0.0

    @property
    def is_complaint(self) -> bool:
        """Whether a reviewer should look at the answer."""
        return bool(self.answer) or self.rating == "down"


class Changes(msgspec.Struct, frozen=True):
    """How often the verdicts of a task have changed what may be learnt, and when last (unix seconds)."""

    count: int = 0
    at: float = 0.0


class ReviewStore:
    """Verdicts and feedback on disk, the same for every process. All but `put_feedback` may block.

    `capacity` bounds the feedback that waits for `flush`; more is dropped and counted.
    """

    def __init__(
        self, database: Database, capacity: int = 1_000, clock: Callable[[], float] = time.time
    ) -> None:
        self.dropped = 0
        self._database = database
        self._capacity = capacity
        self._clock = clock
        self._waiting: deque[Feedback] = deque()
        self._flushing = threading.Lock()
        database.create(_SCHEMA)

    def put(self, verdicts: Sequence[Verdict]) -> list[Verdict]:
        """Keep `verdicts` and return them as they are kept; of two about one request the later counts.

        One that says what the latest on its request says already is not kept again, nor learnt again.
        """
        now = self._clock()
        verdicts = [each if each.at else msgspec.structs.replace(each, at=now) for each in verdicts]
        with self._database.write() as connection:
            for verdict in verdicts:
                if _is_said(connection, verdict):
                    continue
                connection.execute(_insert("verdicts", verdict), _values(verdict, now))
                if verdict.changes_lessons:
                    connection.execute(_CHANGED, (verdict.task, now))
        return verdicts

    def undo(self, tasks: Sequence[str] = (), given: Verdict | None = None) -> Verdict | None:
        """Take the latest verdict back, of `tasks` alone if named, or the one that `put` has returned.

        None if there is none, or if it was taken back already.
        """
        conditions = [f"task IN ({', '.join('?' * len(tasks))})"] if tasks else []
        # Not the latest on that request: another reviewer may have decided it since.
        conditions += ["request_id = ? AND kind = ? AND answer = ? AND at = ?"] if given else []
        where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        with self._database.write() as connection:
            found = connection.execute(
                f"SELECT seq, {_names(Verdict)} FROM verdicts {where} ORDER BY seq DESC LIMIT 1",  # noqa: S608
                (*tasks, *((given.request_id, given.kind, given.answer, given.at) if given else ())),
            ).fetchone()
            if found is None:
                return None
            verdict: Verdict = _read(Verdict, found[1:])
            connection.execute("DELETE FROM verdicts WHERE seq = ?", (found[0],))
            if verdict.changes_lessons:
                connection.execute(_CHANGED, (verdict.task, self._clock()))
        return verdict

    def verdicts(self, task: str, until: float = math.inf) -> list[Verdict]:
        """Return the verdicts in force `until` then (unix seconds) on rows of `task`, one per request.

        The oldest come first.
        """
        query = f"SELECT {_names(Verdict)} FROM verdicts WHERE task = ? AND at <= ? ORDER BY seq"  # noqa: S608
        latest: dict[str, Verdict] = {}
        for row in self._database.read(query, (task, until)):
            verdict = _read(Verdict, row)
            latest.pop(verdict.request_id, None)
            latest[verdict.request_id] = verdict
        return list(latest.values())

    def changes(self, task: str) -> Changes:
        """Return how often verdicts on `task` were given or taken back, if they change lessons."""
        rows = self._database.read("SELECT count, at FROM review_changes WHERE task = ?", (task,))
        return Changes(*rows[0]) if rows else Changes()

    def put_feedback(self, feedback: Feedback) -> bool:
        """Take `feedback` without blocking; others see it after `flush`. False if it had to be dropped."""
        if len(self._waiting) >= self._capacity:
            self.dropped += 1
            return False
        self._waiting.append(feedback)
        return True

    def flush(self) -> None:
        """Write the feedback that waits. Raises sqlite3.Error and then keeps it."""
        with self._flushing:
            if not (batch := list(self._waiting)):
                return
            with self._database.write() as connection:
                for feedback in batch:
                    connection.execute(_insert("feedback", feedback), _values(feedback, self._clock()))
            for _ in batch:
                self._waiting.popleft()

    def give_up(self) -> int:
        """Drop what waits: the disk does not take it, and this process ends. Return how much it was."""
        lost = len(self._waiting)
        self._waiting.clear()
        self.dropped += lost
        return lost

    def feedback(self) -> list[Feedback]:
        """Return all feedback, oldest first."""
        rows = self._database.read(f"SELECT {_names(Feedback)} FROM feedback ORDER BY seq")  # noqa: S608
        return [_read(Feedback, row) for row in rows]

    def last_feedback(self) -> int:
        """Return the number of the latest feedback, 0 before the first."""
        return int(self._database.read("SELECT coalesce(max(seq), 0) FROM feedback")[0][0])

    def feedback_after(self, seq: int) -> list[tuple[int, Feedback]]:
        """Return the feedback numbered above `seq` with its numbers, ascending."""
        query = f"SELECT seq, {_names(Feedback)} FROM feedback WHERE seq > ? ORDER BY seq"  # noqa: S608
        return [(number, _read(Feedback, row)) for number, *row in self._database.read(query, (seq,))]

    def forgot_at(self) -> float:
        """Return when something was last forgotten, in unix seconds: workers forget all from before."""
        return float(self._database.read("SELECT coalesce(max(at), 0) FROM last_forget")[0][0])

    def forget(self, request_ids: Sequence[str]) -> int:
        """Delete all that was said of these requests; return how much. Workers forget what they remember."""
        with self._database.write() as connection:
            connection.execute(_FORGOT, (self._clock(),))
            return sum(
                connection.execute(f"DELETE FROM {table} WHERE request_id = ?", (each,)).rowcount  # noqa: S608
                for each in request_ids
                for table in ("verdicts", "feedback")
            )

    def forget_feedback(self, tenant: str, caller: str) -> int:
        """Delete the feedback of an owner, on whichever requests; an empty name is that of any.

        Return how much. Requests that a specialist answered have no row that would name them.
        """
        with self._database.write() as connection:
            where = "(tenant = ?1 OR ?1 = '') AND (caller = ?2 OR ?2 = '')"
            return connection.execute(f"DELETE FROM feedback WHERE {where}", (tenant, caller)).rowcount  # noqa: S608

    def prune(self, before: float) -> None:
        """Delete what was said before that time, in unix seconds."""
        with self._database.write() as connection:
            for table in ("verdicts", "feedback"):
                connection.execute(f"DELETE FROM {table} WHERE at < ?", (before,))  # noqa: S608


def _is_said(connection: sqlite3.Connection, verdict: Verdict) -> bool:
    """Whether the latest verdict on the same request says the same, whenever that was."""
    query = f"SELECT {_names(Verdict)} FROM verdicts WHERE task = ? AND request_id = ? ORDER BY seq DESC"  # noqa: S608
    latest = connection.execute(query, (verdict.task, verdict.request_id)).fetchone()
    return latest is not None and msgspec.structs.replace(_read(Verdict, latest), at=verdict.at) == verdict


def _names(kind: type[msgspec.Struct]) -> str:
    return ", ".join(kind.__struct_fields__)


def _insert(table: str, said: msgspec.Struct) -> str:
    names = said.__struct_fields__
    return f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"  # noqa: S608


def _values(said: Verdict | Feedback, now: float) -> tuple[object, ...]:
    return msgspec.structs.astuple(said if said.at else msgspec.structs.replace(said, at=now))


def _read(kind: Any, row: Sequence[Any]) -> Any:
    # SQLite has no booleans.
    return msgspec.convert(dict(zip(kind.__struct_fields__, row, strict=True)), kind, strict=False)
