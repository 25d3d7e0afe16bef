"""What this machine has changed and the others do not know yet: kept on disk, by triggers of SQLite.

A trigger sees the change of any process, a command of the operator's too, in the same transaction. So
nothing is forgotten while the shared state is away, and no store knows that it is shared.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import msgspec

from gateway.sharing.tables import TABLES
from gateway.store.database import Database

TABLE_CHANGES, AUDITS, OWNERS = "", "audits", "owners"
"""What is sent apart: the rows of tables, audits, and the owners of new objects."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS outgoing (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, key TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS shared_rows (
    kind TEXT NOT NULL, key TEXT NOT NULL, revision INTEGER NOT NULL, PRIMARY KEY (kind, key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS shared_marks (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS applying (is_applying INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS audits_by_request ON audits (request_id);
"""
_TRIGGER = """
CREATE TRIGGER IF NOT EXISTS shared_{table}_{event} AFTER {event} ON {table}
WHEN NOT EXISTS (SELECT 1 FROM applying)
BEGIN INSERT INTO outgoing (kind, key) VALUES ('{kind}', json_array({key})); END;
"""


class Change(msgspec.Struct, frozen=True):
    """A row that was changed here."""

    seq: int
    kind: str
    key: str
    """The values of the key's columns, as a JSON list."""


class Outgoing:
    """The queue of changes, in the database that they are made in. Methods may block."""

    def __init__(self, database: Database) -> None:
        """Begin to note what changes; the tables must be there already."""
        self._database = database
        database.create(_SCHEMA + "".join(_list_triggers()))

    def next_changes(self, limit: int, what: str = TABLE_CHANGES) -> list[Change]:
        """Return the oldest that are not sent yet, of AUDITS, of OWNERS, or of all tables.

        Those of a table that only a newer version shares wait for it: this one can read neither side.
        """
        kinds = list(TABLES) if what == TABLE_CHANGES else [what]
        query = (
            f"SELECT seq, kind, key FROM outgoing WHERE kind IN ({', '.join('?' * len(kinds))}) "  # noqa: S608
            "ORDER BY seq LIMIT ?"
        )
        return [Change(*row) for row in self._database.read(query, (*kinds, limit))]

    def encode_keys(self, keys: Sequence[str]) -> list[str]:
        """Return keys of one column as the triggers write them."""
        return [str(self._database.read("SELECT json_array(?)", (key,))[0][0]) for key in keys]

    def remove(self, connection: sqlite3.Connection, changes: Sequence[Change]) -> None:
        """Note that `changes` were sent, in the transaction that is open."""
        connection.executemany("DELETE FROM outgoing WHERE seq = ?", [(change.seq,) for change in changes])

    @contextmanager
    def apply(self) -> Iterator[sqlite3.Connection]:
        """Give a transaction whose changes come from the others, and so are not sent to them."""
        with self._database.write() as connection:
            connection.execute("INSERT INTO applying VALUES (1)")
            yield connection
            connection.execute("DELETE FROM applying")

    def read_mark(self, name: str) -> str:
        """Return what `set_mark` kept; empty before."""
        rows = self._database.read("SELECT value FROM shared_marks WHERE name = ?", (name,))
        return str(rows[0][0]) if rows else ""

    def set_mark(self, name: str, value: str, connection: sqlite3.Connection | None = None) -> None:
        """Keep a value, in the transaction that is open if one is given."""
        statement = "INSERT OR REPLACE INTO shared_marks VALUES (?, ?)"
        if connection is not None:
            connection.execute(statement, (name, value))
            return
        with self._database.write() as own:
            own.execute(statement, (name, value))


def count_outgoing(database: Database) -> int:
    """Return how many changes wait to be sent."""
    return int(database.read("SELECT count(*) FROM outgoing")[0][0])


def stop_noting(database: Database) -> None:
    """Note no changes any more, where an earlier run did: what nobody sends would only grow."""
    query = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND name LIKE 'shared!_%' ESCAPE '!'"
    triggers = database.read(query)
    if not triggers:
        return
    with database.write() as connection:
        for (name,) in triggers:
            connection.execute(f"DROP TRIGGER IF EXISTS {name}")
        connection.execute("DELETE FROM outgoing")
        connection.execute("DELETE FROM shared_rows")
        connection.execute("DELETE FROM shared_marks")


def decode_key(key: str) -> list[object]:
    """Return the values of a key's columns."""
    return list(msgspec.json.decode(key))


def _list_triggers() -> Iterator[str]:
    for table in TABLES.values():
        for event in table.events:
            row = "OLD" if event == "DELETE" else "NEW"
            key = ", ".join(f"{row}.{name}" for name in table.key)
            yield _TRIGGER.format(table=table.name, event=event, kind=table.name, key=key)
    yield _TRIGGER.format(table="audits", event="INSERT", kind=AUDITS, key="NEW.seq")
    yield _TRIGGER.format(table="objects", event="INSERT", kind=OWNERS, key="NEW.id")
