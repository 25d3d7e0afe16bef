"""The tenants of the objects that the teacher keeps for us: files, batches, responses and the like."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

import msgspec

from gateway.store.database import Database

# OpenAI deletes stored responses and completions after 30 days; anything else stays until it is deleted.
SHORT_LIVED_DAYS = 40
_SHORT_LIVED = ("response", "completion", "item")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    tenant TEXT NOT NULL,
    at REAL NOT NULL
) WITHOUT ROWID;
"""


class OwnedObject(msgspec.Struct, frozen=True, kw_only=True):
    """One object. `at` is in unix seconds."""

    id: str
    kind: str
    tenant: str
    at: float


class ObjectStore:
    """Remembers who made an object; the first owner stays. Methods may block."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        database.create(_SCHEMA)

    def find_owners(self, ids: Sequence[str]) -> dict[str, str]:
        """Return the tenants of `ids`; unknown ones are left out."""
        places = ", ".join("?" * len(ids))
        query = f"SELECT id, tenant FROM objects WHERE id IN ({places})"  # noqa: S608
        # Never from memory: a claim in another process must end what the owner before could do.
        return dict(self._database.read(query, list(ids)))

    def add(self, objects: Iterable[tuple[str, str]], tenant: str) -> None:
        """Remember each (id, kind) as an object of `tenant`, unless it has an owner."""
        rows = [(object_id, kind, tenant, self._clock()) for object_id, kind in objects]
        with self._database.write() as connection:
            connection.executemany("INSERT OR IGNORE INTO objects VALUES (?, ?, ?, ?)", rows)

    def claim(self, object_id: str, kind: str, tenant: str) -> str | None:
        """Make `tenant` the owner, in place of any other; return the tenant before, None without one."""
        with self._database.write() as connection:
            row = connection.execute("SELECT tenant FROM objects WHERE id = ?", (object_id,)).fetchone()
            connection.execute(
                "INSERT INTO objects VALUES (?, ?, ?, ?) "
                "ON CONFLICT (id) DO UPDATE SET tenant = excluded.tenant",
                (object_id, kind, tenant, self._clock()),
            )
        return row[0] if row else None

    def list_objects(self, tenant: str = "") -> list[OwnedObject]:
        """Return the objects of `tenant`, or of all, oldest first."""
        rows = self._database.read(
            "SELECT id, kind, tenant, at FROM objects WHERE ? IN ('', tenant) ORDER BY at, id", (tenant,)
        )
        return [OwnedObject(id=row[0], kind=row[1], tenant=row[2], at=row[3]) for row in rows]

    def prune(self) -> int:
        """Forget what the teacher has deleted by now; return how many."""
        limit = self._clock() - SHORT_LIVED_DAYS * 86_400
        with self._database.write() as connection:
            return connection.execute(
                "DELETE FROM objects WHERE at < ? AND kind IN (?, ?, ?)", (limit, *_SHORT_LIVED)
            ).rowcount
