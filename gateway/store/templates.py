"""What near copies of templates have proved: the same task, or one of their own."""

from __future__ import annotations

import time
from collections.abc import Callable

from gateway.core import CopyStatus
from gateway.store.database import Database

_SCHEMA = """
CREATE TABLE IF NOT EXISTS templates (
    task TEXT NOT NULL,
    copy TEXT NOT NULL,
    status TEXT NOT NULL,
    at REAL NOT NULL,
    PRIMARY KEY (task, copy)
);
"""


class TemplateStore:
    """The status of every near copy, in memory for classifiers and on disk for the other processes.

    A `copy` is one of its keys; see `copy_keys`.
    """

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        self._seen: tuple[int, int] | None = None
        self._statuses: dict[tuple[str, str], CopyStatus] = {}
        database.create(_SCHEMA)
        self.refresh()

    def status_of(self, task: str, *copies: str) -> CopyStatus | None:
        """Return what the first of `copies` that has proved anything is; None without one. Never blocks."""
        statuses = (self._statuses.get((task, copy)) for copy in copies)
        return next((status for status in statuses if status), None)

    def put(self, task: str, copy: str, status: CopyStatus) -> None:
        """Store a status unless the copy has one already: of several writers the first wins. May block."""
        with self._database.write() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO templates VALUES (?, ?, ?, ?)", (task, copy, status, self._clock())
            )
        self.refresh()

    def forget(self, task: str) -> None:
        """Delete what is known of the near copies of `task`: where they differ is told in their own words."""
        with self._database.write() as connection:
            connection.execute("DELETE FROM templates WHERE task = ?", (task,))
        self.refresh()

    def refresh(self) -> None:
        """Read what other processes stored; may block."""
        version = self._database.data_version()
        if version != self._seen:
            rows = self._database.read("SELECT task, copy, status FROM templates")
            self._statuses = {(task, copy): status for task, copy, status in rows}
            self._seen = version
