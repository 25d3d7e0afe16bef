"""The audit trail: who changed what and when, each entry chained to the one before by its hash.

Not the audits of `store/audits.py`, which compare answers: this is about operators.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import msgspec

from gateway.store.database import Database

FIRST_HASH = "0" * 64
"""In the place of the hash before the first entry."""
_BATCH = 1_000
_SCHEMA = """
CREATE TABLE IF NOT EXISTS audit_trail (
    number INTEGER PRIMARY KEY,
    at REAL NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    facts TEXT NOT NULL,
    hash TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS audit_trail_by_subject ON audit_trail (subject);
"""
_ENTRIES = "SELECT number, at, actor, action, subject, facts, hash FROM audit_trail"


class Entry(msgspec.Struct, frozen=True):
    """One change. `actor` is `cli:<user>` or `token:<name>`, `facts` a JSON object, `at` unix seconds."""

    number: int
    at: float
    actor: str
    action: str
    subject: str
    facts: str
    hash: str

    def is_after(self, previous_hash: str) -> bool:
        """Whether this is what was written after the entry with that hash."""
        return self.hash == _hash_entry(previous_hash, msgspec.structs.astuple(self)[:-1])


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What a check of the whole chain found; `fault` is empty if every entry is as it was written."""

    entries: int
    head: str
    """Number and hash of the last entry, as `verify` takes it: whoever keeps it elsewhere notices a
    chain that was cut or written anew as a whole."""
    fault: str = ""


class AuditTrail:
    """Appends entries, lists and checks them. Every method may block."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        database.create(_SCHEMA)

    def transaction(self) -> AbstractContextManager[sqlite3.Connection]:
        """Keep the changes of a block, and the entries that it adds, all or none."""
        return self._database.write()

    def add(self, actor: str, action: str, subject: str = "", **facts: object) -> None:
        """Append an entry. What is no change of the database is done after it, so never without it."""
        encoded = msgspec.json.encode(facts, order="sorted").decode()
        with self._database.write() as connection:
            last = connection.execute(f"{_ENTRIES} ORDER BY number DESC LIMIT 1").fetchone()
            number, previous = (last[0] + 1, last[-1]) if last else (1, FIRST_HASH)
            row = (number, self._clock(), actor, action, subject, encoded)
            connection.execute(
                "INSERT INTO audit_trail VALUES (?, ?, ?, ?, ?, ?, ?)", (*row, _hash_entry(previous, row))
            )

    def newest(self, count: int, *, subject: str = "", action: str = "") -> list[Entry]:
        """Return the last `count` entries, of one subject or action if it is named, newest first."""
        rows = self._database.read(
            f"{_ENTRIES} WHERE (? = '' OR subject = ?) AND (? = '' OR action = ?) "
            "ORDER BY number DESC LIMIT ?",
            (subject, subject, action, action, count),
        )
        return [Entry(*row) for row in rows]

    def verify(self, known_head: str = "") -> Verdict:
        """Recompute the chain. With a `known_head` of an earlier verdict that entry must be there still."""
        previous, count, is_known = FIRST_HASH, 0, not known_head
        for entry in self._iterate():
            if entry.number != count + 1:
                return _fault(count, previous, f"entry {count + 1} is missing")
            if not entry.is_after(previous):
                return _fault(count, previous, f"entry {entry.number} is not what was written")
            previous, count = entry.hash, entry.number
            is_known = is_known or _format_head(count, previous) == known_head
        if not is_known:
            return _fault(count, previous, f"the entry {known_head} is not in it: cut off, or written anew")
        return Verdict(entries=count, head=_format_head(count, previous))

    def _iterate(self) -> Iterator[Entry]:
        number = 0
        while rows := self._database.read(
            f"{_ENTRIES} WHERE number > ? ORDER BY number LIMIT ?", (number, _BATCH)
        ):
            yield from (Entry(*row) for row in rows)
            number = rows[-1][0]


def name_local_actor() -> str:
    """Return the actor of a command: the user of this process, by the system's account, not by variables."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        # A container may run as a number without an account.
        user = str(os.getuid())
    sudo = os.environ.get("SUDO_USER", "") if os.getuid() == 0 else ""
    return f"cli:{user}" + (f" for {sudo}" if sudo else "")


def _hash_entry(previous: str, row: tuple[object, ...]) -> str:
    return hashlib.sha256(previous.encode() + msgspec.json.encode(row)).hexdigest()


def _format_head(number: int, entry_hash: str) -> str:
    return f"{number}:{entry_hash}"


def _fault(entries: int, entry_hash: str, fault: str) -> Verdict:
    return Verdict(entries=entries, head=_format_head(entries, entry_hash), fault=fault)
