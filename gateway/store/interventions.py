"""What operators decided about tasks: which are frozen, and which alarms they have seen."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from gateway.store.database import Database

ALL_TASKS = ""
"""In the place of a task: all of them, those to come too."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS freezes (task TEXT PRIMARY KEY, at REAL NOT NULL, note TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS seen_alarms (
    task TEXT PRIMARY KEY, epoch INTEGER NOT NULL, at REAL NOT NULL, note TEXT NOT NULL
);
"""


class Freeze(msgspec.Struct, frozen=True):
    """A task that the teacher answers until it is unfrozen; `task` is ALL_TASKS for all."""

    task: str
    at: float
    note: str


class SeenAlarm(msgspec.Struct, frozen=True):
    """An alarm that an operator has acknowledged; `epoch` counts the alarms of the task."""

    task: str
    epoch: int
    at: float
    note: str


class Interventions:
    """Freezes and acknowledged alarms: in memory for this process, on disk for the others and for ever."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        self._seen: tuple[int, int] | None = None
        self._freezes: dict[str, Freeze] = {}
        self._alarms: dict[str, SeenAlarm] = {}
        database.create(_SCHEMA)
        self.refresh()

    def is_frozen(self, task: str) -> bool:
        """Whether the teacher alone answers for `task`. Never blocks."""
        freezes = self._freezes
        return bool(freezes) and (task in freezes or ALL_TASKS in freezes)

    def find_freeze(self, task: str) -> Freeze | None:
        """Return the task's own freeze, else that of all; None if it is not frozen. Never blocks."""
        return self._freezes.get(task) or self._freezes.get(ALL_TASKS)

    def list_freezes(self) -> list[Freeze]:
        """Return every freeze, that of all tasks first."""
        return [freeze for _, freeze in sorted(self._freezes.items())]

    def freeze(self, task: str, note: str = "") -> bool:
        """Freeze a task, or ALL_TASKS; False, and its time and note stay, if it was frozen. May block."""
        row = (task, self._clock(), note)
        with self._database.write() as connection:
            changed = connection.execute("INSERT OR IGNORE INTO freezes VALUES (?, ?, ?)", row).rowcount
        self.refresh()
        return changed == 1

    def unfreeze(self, task: str) -> bool:
        """End the freeze of a task, or that of ALL_TASKS; False if there was none. May block.

        Tasks that were frozen one by one stay so when ALL_TASKS is unfrozen.
        """
        with self._database.write() as connection:
            changed = connection.execute("DELETE FROM freezes WHERE task = ?", (task,)).rowcount
        self.refresh()
        return changed == 1

    def acknowledge_alarm(self, task: str, epoch: int, note: str = "") -> None:
        """Note that an operator has seen the alarms of a task up to `epoch`. May block."""
        row = (task, epoch, self._clock(), note)
        with self._database.write() as connection:
            connection.execute("INSERT OR REPLACE INTO seen_alarms VALUES (?, ?, ?, ?)", row)
        self.refresh()

    def find_seen_alarm(self, task: str, epoch: int) -> SeenAlarm | None:
        """Return the acknowledgement of the task's alarm `epoch`; None while it is not. Never blocks."""
        seen = self._alarms.get(task)
        return seen if seen and seen.epoch >= epoch else None

    def refresh(self) -> None:
        """Read what other processes decided; may block."""
        version = self._database.data_version()
        if version != self._seen:
            freezes = self._database.read("SELECT task, at, note FROM freezes")
            alarms = self._database.read("SELECT task, epoch, at, note FROM seen_alarms")
            self._freezes = {row[0]: Freeze(*row) for row in freezes}
            self._alarms = {row[0]: SeenAlarm(*row) for row in alarms}
            self._seen = version
