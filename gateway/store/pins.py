"""Pins: tasks whose version stays until an operator takes the pin out. Why is in the audit trail."""

from __future__ import annotations

from gateway.store.database import Database

_SCHEMA = "CREATE TABLE IF NOT EXISTS pins (task TEXT PRIMARY KEY);"


class PinStore:
    """Pins, the same for every process; every method may block."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.create(_SCHEMA)

    def pin(self, task: str) -> None:
        """Keep the version that drafts, from now on."""
        with self._database.write() as connection:
            connection.execute("INSERT OR IGNORE INTO pins VALUES (?)", (task,))

    def unpin(self, task: str) -> None:
        """End it."""
        with self._database.write() as connection:
            connection.execute("DELETE FROM pins WHERE task = ?", (task,))

    def is_pinned(self, task: str) -> bool:
        """Return whether the version that drafts is to stay until it is unpinned."""
        return bool(self._database.read("SELECT 1 FROM pins WHERE task = ?", (task,)))
