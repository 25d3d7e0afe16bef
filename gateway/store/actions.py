"""What operators did by hand to the versions of tasks: what, when and why, and which are pinned."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

import msgspec

from gateway.store.database import Database

ActionKind = Literal["promote", "rollback", "pin", "unpin", "train"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS version_actions (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    task TEXT NOT NULL,
    version INTEGER,
    reason TEXT NOT NULL,
    result TEXT NOT NULL,
    at REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS pins (task TEXT PRIMARY KEY);
"""


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was done by hand. `at` is unix seconds."""

    kind: ActionKind
    task: str
    version: int | None
    reason: str
    result: str = ""
    at: float = 0.0


class ActionLog:
    """Actions and pins, the same for every process; every method may block."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        database.create(_SCHEMA)

    def note(self, action: Action) -> None:
        """Add `action` to the log; a pin is in force from then on."""
        named = msgspec.structs.replace(action, at=self._clock())
        names = ", ".join(Action.__struct_fields__)
        with self._database.write() as connection:
            connection.execute(
                f"INSERT INTO version_actions ({names}) VALUES (?, ?, ?, ?, ?, ?)",  # noqa: S608
                msgspec.structs.astuple(named),
            )
            if action.kind == "pin":
                connection.execute("INSERT OR IGNORE INTO pins VALUES (?)", (action.task,))
            if action.kind == "unpin":
                connection.execute("DELETE FROM pins WHERE task = ?", (action.task,))

    def is_pinned(self, task: str) -> bool:
        """Return whether the version that drafts is to stay until it is unpinned."""
        return bool(self._database.read("SELECT 1 FROM pins WHERE task = ?", (task,)))

    def list(self, task: str = "") -> list[Action]:
        """Return what was done, oldest first; to one task alone if it is named."""
        names = ", ".join(Action.__struct_fields__)
        where, chosen = ("WHERE task = ?", (task,)) if task else ("", ())
        query = f"SELECT {names} FROM version_actions {where} ORDER BY seq"  # noqa: S608
        facts = [
            zip(Action.__struct_fields__, row, strict=True) for row in self._database.read(query, chosen)
        ]
        return [msgspec.convert(dict(each), Action) for each in facts]
