"""The adopted tasks, with everything that a classifier must know about them."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from gateway.store.database import Database
from gateway.store.task_names import TaskNames, Unnamed

_SCHEMA = """
CREATE TABLE IF NOT EXISTS tasks (
    task TEXT PRIMARY KEY,
    scope TEXT NOT NULL,
    contract_hash TEXT NOT NULL,
    template_text TEXT NOT NULL,
    vector BLOB NOT NULL,
    model TEXT NOT NULL,
    adopted_at REAL NOT NULL,
    revision INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS tasks_by_revision ON tasks (revision);
"""
_UPSERT = """
INSERT INTO tasks VALUES (?, ?, ?, ?, ?, ?, ?, (SELECT coalesce(max(revision), 0) + 1 FROM tasks))
ON CONFLICT (task) DO UPDATE SET
    contract_hash = excluded.contract_hash,
    template_text = excluded.template_text,
    vector = excluded.vector,
    model = excluded.model,
    revision = excluded.revision
"""
_CHANGED = """
SELECT task, scope, contract_hash, template_text, vector, model, adopted_at, revision
FROM tasks WHERE revision > ? ORDER BY revision
"""


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """One adopted task.

    `scope` names the traffic that founded it; `vector` is the template's unit embedding, float32 bytes.
    """

    task: str
    scope: str
    contract_hash: str
    template_text: str
    vector: bytes
    model: str
    adopted_at: float


class TaskStore:
    """Every adopted task: in memory for this process, on disk for the others."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        self._seen: tuple[int, int] | None = None
        self._revision = 0
        self._tasks: dict[str, Task] = {}
        self._all: tuple[Task, ...] = ()
        self.names = TaskNames(database)
        database.create(_SCHEMA)
        self.refresh()
        self.names.assign_missing(map(_to_unnamed, self._all))

    def __contains__(self, task: str, /) -> bool:
        return task in self._tasks

    def get(self, task: str) -> Task | None:
        """Return the adopted task of that name, None if there is none. Never blocks."""
        return self._tasks.get(task)

    def find_named(self, scope: str, name: str) -> Task | None:
        """Return the adopted task of `scope` with that id or readable name. Never blocks."""
        task = self._tasks.get(name) or self._tasks.get(self.names.find(scope, name) or "")
        return task if task and task.scope == scope else None

    def all(self) -> tuple[Task, ...]:
        """Return every adopted task, oldest first; the same object until a refresh finds a change."""
        return self._all

    def put(
        self, task: str, *, scope: str, contract_hash: str, template_text: str, vector: bytes, model: str
    ) -> None:
        """Adopt and name `task`, or replace what is known of it; keeps its time and name. May block."""
        facts = (task, scope, contract_hash, template_text, vector, model, self._clock())
        with self._database.write() as connection:
            connection.execute(_UPSERT, facts)
            self.names.assign(connection, Unnamed(task, scope, template_text, model))
        self.refresh()

    def blank(self, task: str) -> None:
        """Keep nothing of a task but its name and contract: nothing resembles it any more. May block."""
        if known := self._tasks.get(task):
            self._replace(known, "", bytes(len(known.vector)))

    def set_vector(self, task: str, vector: bytes) -> None:
        """Replace the unit embedding of a task's template, as after a change of the encoder. May block."""
        if known := self._tasks.get(task):
            self._replace(known, known.template_text, vector)

    def refresh(self) -> None:
        """Read what other processes adopted; may block."""
        version = self._database.data_version()
        if version == self._seen:
            return
        # To read the vectors of a thousand tasks again takes 16 ms: only the changed ones are read.
        changed = self._database.read(_CHANGED, (self._revision,))
        if changed:
            self._revision = changed[-1][-1]
            self._tasks = self._tasks | {row[0]: _to_task(row) for row in changed}
            self._all = tuple(sorted(self._tasks.values(), key=lambda task: (task.adopted_at, task.task)))
        self.names.refresh()
        self._seen = version

    def _replace(self, known: Task, template_text: str, vector: bytes) -> None:
        self.put(
            known.task,
            scope=known.scope,
            contract_hash=known.contract_hash,
            template_text=template_text,
            vector=vector,
            model=known.model,
        )


def _to_unnamed(task: Task) -> Unnamed:
    return Unnamed(task.task, task.scope, task.template_text, task.model)


def _to_task(row: tuple[str, str, str, str, bytes, str, float, int]) -> Task:
    task, scope, contract_hash, template_text, vector, model, adopted_at, _ = row
    return Task(
        task=task,
        scope=scope,
        contract_hash=contract_hash,
        template_text=template_text,
        vector=vector,
        model=model,
        adopted_at=adopted_at,
    )
