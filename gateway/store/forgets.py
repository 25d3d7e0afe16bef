"""Requests to forget that several machines must carry out, and what each has done; no content.

Shared tables (see gateway.sharing.tables): what is written on one machine comes to all, later if it is away.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import msgspec

from gateway.store.database import Database

_SCHEMA = """
CREATE TABLE IF NOT EXISTS machines (machine TEXT PRIMARY KEY, host TEXT NOT NULL, joined_at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS former_audit_keys (key TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS forgets (
    id TEXT PRIMARY KEY, machine TEXT NOT NULL, at REAL NOT NULL, selection TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS forget_traces (
    forget TEXT NOT NULL, machine TEXT NOT NULL, part INTEGER NOT NULL, ids TEXT NOT NULL,
    body TEXT NOT NULL, PRIMARY KEY (forget, machine, part)
);
CREATE TABLE IF NOT EXISTS forget_receipts (
    forget TEXT NOT NULL, machine TEXT NOT NULL, is_done INTEGER NOT NULL, traces INTEGER NOT NULL,
    body TEXT NOT NULL, PRIMARY KEY (forget, machine)
);
"""
_IS_DONE_BY = """EXISTS (
    SELECT 1 FROM forget_receipts r WHERE r.forget = f.id AND r.machine = {machine} AND r.is_done
    AND r.traces >= (SELECT count(*) FROM forget_traces t WHERE t.forget = f.id AND t.machine != {machine})
)"""
_NOT_DONE = f"SELECT id, machine, at, selection FROM forgets f WHERE NOT {_IS_DONE_BY}"  # noqa: S608 - constants
_WAITING = _NOT_DONE.format(machine="?1")
_IS_MISSING = f"NOT {_IS_DONE_BY.format(machine='m.machine')}"
_MISSING = (
    f"SELECT m.machine, host FROM machines m, forgets f WHERE f.id = ?1 AND {_IS_MISSING} "  # noqa: S608
    "ORDER BY host, m.machine"
)
_OVER = (
    f"SELECT id FROM forgets f WHERE at < ?1 AND NOT EXISTS (SELECT 1 FROM machines m WHERE {_IS_MISSING})"  # noqa: S608
)
_CLEAN = (
    "DELETE FROM forget_traces WHERE forget = ?",
    "DELETE FROM forget_receipts WHERE forget = ?",
    "DELETE FROM forgets WHERE id = ?",
)


class ForgetRequest(msgspec.Struct, frozen=True):
    """A request to forget; `selection` is JSON without the name of any user."""

    id: str
    machine: str
    """Where it was asked for."""
    at: float
    selection: str


class MachineAnswer(msgspec.Struct, frozen=True):
    """How far one machine is with a request; `body` is its receipt, as JSON."""

    machine: str
    is_done: bool
    traces: int
    """Of the traces that other machines found, those that it has looked for."""
    body: str


class ForgetRequests:
    """The requests, for every process. All methods may block."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        database.create(_SCHEMA)

    def join(self, machine: str, host: str) -> None:
        """Count `machine` among those that must answer, until `retire`."""
        if self.machines().get(machine) == host:
            return
        with self._database.write() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO machines VALUES (?, ?, ?)", (machine, host, self._clock())
            )

    def retire(self, machine: str) -> bool:
        """Wait for `machine` no more; False if none is called so."""
        with self._database.write() as connection:
            return bool(connection.execute("DELETE FROM machines WHERE machine = ?", (machine,)).rowcount)

    def machines(self) -> dict[str, str]:
        """Return the host of each machine that must answer."""
        return dict(self._database.read("SELECT machine, host FROM machines"))

    def keep_audit_key(self, key: bytes) -> None:
        """Remember a key that users were named by until now."""
        with self._database.write() as connection:
            connection.execute("INSERT OR IGNORE INTO former_audit_keys VALUES (?)", (key.hex(),))

    def former_audit_keys(self) -> list[bytes]:
        """Return the keys that users were named by on any machine, before it had that of all."""
        return [bytes.fromhex(key) for (key,) in self._database.read("SELECT key FROM former_audit_keys")]

    def add(self, request: ForgetRequest) -> None:
        """Ask every machine to carry out `request`."""
        with self._database.write() as connection:
            values = msgspec.structs.astuple(request)
            connection.execute("INSERT OR IGNORE INTO forgets VALUES (?, ?, ?, ?)", values)

    def requests(self) -> list[ForgetRequest]:
        """Return the requests that are still kept, oldest first."""
        rows = self._database.read("SELECT id, machine, at, selection FROM forgets ORDER BY at, id")
        return [ForgetRequest(*row) for row in rows]

    def waiting(self, machine: str) -> list[ForgetRequest]:
        """Return the requests that `machine` has not carried out to their end."""
        return [ForgetRequest(*row) for row in self._database.read(_WAITING, (machine,))]

    def missing(self, request: str) -> dict[str, str]:
        """Return the host of each machine that is not done with a request."""
        return dict(self._database.read(_MISSING, (request,)))

    def answers(self, request: str) -> dict[str, MachineAnswer]:
        """Return what each machine has answered."""
        query = "SELECT machine, is_done, traces, body FROM forget_receipts WHERE forget = ?"
        rows = self._database.read(query, (request,))
        return {row[0]: MachineAnswer(row[0], bool(row[1]), row[2], row[3]) for row in rows}

    def answer(self, request: str, answer: MachineAnswer) -> None:
        """Put what a machine has done in the place of what it said before."""
        values = (request, *msgspec.structs.astuple(answer))
        with self._database.write() as connection:
            connection.execute("INSERT OR REPLACE INTO forget_receipts VALUES (?, ?, ?, ?, ?)", values)

    def add_traces(self, request: str, machine: str, traces: Sequence[tuple[str, str]]) -> None:
        """Tell the others what `machine` found, each as a JSON list of request ids and a body."""
        with self._database.write() as connection:
            query = "SELECT count(*) FROM forget_traces WHERE forget = ? AND machine = ?"
            (first,) = connection.execute(query, (request, machine)).fetchone()
            rows = [(request, machine, first + number, *trace) for number, trace in enumerate(traces)]
            connection.executemany("INSERT INTO forget_traces VALUES (?, ?, ?, ?, ?)", rows)

    def traces(self, request: str) -> list[tuple[str, str]]:
        """Return machine and body of each trace of a request."""
        query = "SELECT machine, body FROM forget_traces WHERE forget = ? ORDER BY machine, part"
        return [(machine, body) for machine, body in self._database.read(query, (request,))]

    def prune(self, before: float) -> int:
        """Drop the requests made before then that every machine has carried out; return how many."""
        over = self._database.read(_OVER, (before,))
        if over:
            with self._database.write() as connection:
                for statement in _CLEAN:
                    connection.executemany(statement, over)
        return len(over)


def find_forgotten(database: Database, request_ids: Sequence[str]) -> set[str]:
    """Return which of these requests (at most 900) are to be forgotten."""
    places = ", ".join("?" * len(request_ids))
    query = f"SELECT value FROM forget_traces, json_each(ids) WHERE value IN ({places})"  # noqa: S608
    return {found for (found,) in database.read(query, tuple(request_ids))}
