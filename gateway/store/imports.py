"""How many recorded conversations were imported as lessons, by task."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.store.database import Database

_SCHEMA = "CREATE TABLE IF NOT EXISTS imports (task TEXT PRIMARY KEY, rows INTEGER NOT NULL);"
_ADD = "INSERT INTO imports VALUES (?, ?) ON CONFLICT (task) DO UPDATE SET rows = rows + excluded.rows"


class ImportLog:
    """The counts, the same for every process; every method may block."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.create(_SCHEMA)

    def add(self, rows: Mapping[str, int]) -> None:
        """Note that so many rows of each task were imported."""
        with self._database.write() as connection:
            connection.executemany(_ADD, rows.items())

    def count(self, task: str) -> int:
        """Return how many rows of `task` were ever imported."""
        found = self._database.read("SELECT rows FROM imports WHERE task = ?", (task,))
        return int(found[0][0]) if found else 0
