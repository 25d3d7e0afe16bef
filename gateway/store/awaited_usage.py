"""Requests with usage that comes later: in the answer to a GET, counted once by id."""

from __future__ import annotations

import msgspec
from msgspec.structs import astuple

from gateway.store.database import Database

# OpenAI keeps responses for 30 days and works on a batch for a day.
KEPT_S = 31 * 86_400.0
MOST = 100_000

_SCHEMA = """
CREATE TABLE IF NOT EXISTS awaited_usage (
    id TEXT PRIMARY KEY,
    at REAL NOT NULL,
    request_id TEXT NOT NULL,
    tenant TEXT NOT NULL,
    key TEXT NOT NULL,
    policy TEXT NOT NULL,
    task TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    requested TEXT NOT NULL,
    tier TEXT NOT NULL
);
"""


class AwaitedUsage(msgspec.Struct, frozen=True):
    """Who is to pay for the object `id` once the teacher says what it took."""

    id: str
    at: float
    request_id: str
    tenant: str
    key: str
    policy: str
    task: str
    endpoint: str
    requested: str
    tier: str


_NAMES = ", ".join(AwaitedUsage.__struct_fields__)


class AwaitedUsages:
    """The newest MOST of them, of all processes, for KEPT_S."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.create(_SCHEMA)

    def add(self, awaited: AwaitedUsage) -> None:
        """Remember it; an id that is known already stays with the first. May block."""
        places = ", ".join("?" * len(AwaitedUsage.__struct_fields__))
        with self._database.write() as connection:
            connection.execute(
                f"INSERT OR IGNORE INTO awaited_usage ({_NAMES}) VALUES ({places})",  # noqa: S608
                astuple(awaited),
            )
            connection.execute(
                "DELETE FROM awaited_usage "
                "WHERE at < ? OR rowid <= (SELECT max(rowid) FROM awaited_usage) - ?",
                (awaited.at - KEPT_S, MOST),
            )

    def is_awaited(self, object_id: str) -> bool:
        """Return whether the usage of `object_id` is still to be counted. May block."""
        return bool(self._database.read("SELECT 1 FROM awaited_usage WHERE id = ?", (object_id,)))

    def take(self, object_id: str) -> AwaitedUsage | None:
        """Return and forget it: of all processes, only one gets it. May block."""
        with self._database.write() as connection:
            rows = connection.execute(
                f"DELETE FROM awaited_usage WHERE id = ? RETURNING {_NAMES}",  # noqa: S608
                (object_id,),
            ).fetchall()
        return AwaitedUsage(*rows[0]) if rows else None
