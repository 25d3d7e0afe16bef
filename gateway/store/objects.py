"""The tenants of the objects that the teacher keeps for us: files, batches, responses and the like."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence

import msgspec

from gateway.store.database import Database

# About 150 bytes each.
MAX_WAITING = 50_000
# OpenAI deletes stored responses and completions after 30 days; anything else stays until it is deleted.
SHORT_LIVED_DAYS = 40
SHORT_LIVED = ("response", "completion", "item")
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
    """Remembers who made an object; the first owner stays. Methods may block.

    While the disk takes nothing, this process alone remembers: its owner finds an object here, other
    processes know it not and refuse it. `capacity` bounds how many wait; more are forgotten and counted.
    """

    def __init__(
        self, database: Database, clock: Callable[[], float] = time.time, capacity: int = MAX_WAITING
    ) -> None:
        self.dropped = 0
        self._database = database
        self._clock = clock
        self._capacity = capacity
        self._waiting: dict[str, tuple[str, str, float]] = {}
        """By id: kind, tenant and time of what is not on the disk yet."""
        self._flushing = threading.Lock()
        database.create(_SCHEMA)

    def find_owners(self, ids: Sequence[str]) -> dict[str, str]:
        """Return the tenants of `ids`; unknown ones are left out."""
        places = ", ".join("?" * len(ids))
        query = f"SELECT id, tenant FROM objects WHERE id IN ({places})"  # noqa: S608
        waiting = {one: facts[1] for one in ids if (facts := self._waiting.get(one))}
        # Nothing else from memory: a claim in another process must end what the owner before could do.
        return {**waiting, **dict(self._database.read(query, list(ids)))}

    @property
    def waiting(self) -> int:
        """How many objects are not on the disk yet."""
        return len(self._waiting)

    def add(self, objects: Iterable[tuple[str, str]], tenant: str) -> None:
        """Remember each (id, kind) as an object of `tenant`, unless it has an owner; never blocks."""
        for object_id, kind in objects:
            if len(self._waiting) >= self._capacity:
                self.dropped += 1
            else:
                self._waiting.setdefault(object_id, (kind, tenant, self._clock()))

    def flush(self) -> None:
        """Write what waits. Raises sqlite3.Error and then keeps it."""
        with self._flushing:
            batch = list(self._waiting.items())
            if not batch:
                return
            with self._database.write() as connection:
                rows = [(object_id, *facts) for object_id, facts in batch]
                connection.executemany("INSERT OR IGNORE INTO objects VALUES (?, ?, ?, ?)", rows)
            for object_id, _ in batch:
                self._waiting.pop(object_id, None)

    def give_up(self) -> int:
        """Drop what waits: the disk does not take it, and this process ends. Return how much it was."""
        lost = len(self._waiting)
        self._waiting.clear()
        self.dropped += lost
        return lost

    def claim(self, object_id: str, kind: str, tenant: str) -> str | None:
        """Make `tenant` the owner, in place of any other; return the tenant before, None without one."""
        with self._database.write() as connection:
            row = connection.execute("SELECT tenant FROM objects WHERE id = ?", (object_id,)).fetchone()
            facts = (object_id, kind, tenant, self._clock())
            connection.execute("INSERT OR IGNORE INTO objects VALUES (?, ?, ?, ?)", facts)
            # In two steps: machines that share their state send what is changed, not what is new.
            connection.execute("UPDATE objects SET tenant = ? WHERE id = ?", (tenant, object_id))
        self._waiting.pop(object_id, None)
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
                "DELETE FROM objects WHERE at < ? AND kind IN (?, ?, ?)", (limit, *SHORT_LIVED)
            ).rowcount
