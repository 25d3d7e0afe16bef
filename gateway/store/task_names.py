"""Readable names of tasks: given once, from the template, and changed by operators alone."""

from __future__ import annotations

import re
import sqlite3
import unicodedata
from collections.abc import Iterable
from typing import NamedTuple

from gateway.errors import ConfigError
from gateway.store.database import Database

LONGEST_NAME = 48
_SUGGESTED_CHARS = 32
_SUGGESTED_WORDS = 4
_NAME = re.compile(rf"[a-z0-9][a-z0-9._-]{{0,{LONGEST_NAME - 1}}}")
_ID = re.compile(r"task-[0-9a-f]{12}")
# What prompts say to any model, and so says nothing of the task.
_EMPTY_TEXT = """
a about agent ai all always an and answer answers any are as ask asked assistant at be below but by
can consider do does each every exactly expert following follow for form format from give given good
have helpful here his how if in into is it its just like may me message model must my no not of on one
only or other our out output please provide reply respond response return should so someone that the
their them then there these they this to use used user user's very want was we well what when which
who whose will with without word words would write you your
"""
_EMPTY_WORDS = frozenset(_EMPTY_TEXT.split())
_SCHEMA = """
CREATE TABLE IF NOT EXISTS task_names (
    task TEXT PRIMARY KEY,
    scope TEXT NOT NULL,
    name TEXT NOT NULL,
    revision INTEGER NOT NULL,
    UNIQUE (scope, name)
);
CREATE INDEX IF NOT EXISTS task_names_by_revision ON task_names (revision);
"""
_NEXT = "(SELECT coalesce(max(revision), 0) + 1 FROM task_names)"


class Unnamed(NamedTuple):
    """What a task is named by."""

    task: str
    scope: str
    template_text: str
    model: str


class TaskNames:
    """The name of every adopted task, unique in its scope: in memory here, on disk for the others."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._revision = 0
        self._names: dict[str, str] = {}
        self._tasks: dict[tuple[str, str], str] = {}
        database.create(_SCHEMA)

    def of(self, task: str) -> str:
        """Return the name of a task, its id while it has none. Never blocks."""
        return self._names.get(task, task)

    def find(self, scope: str, name: str) -> str | None:
        """Return the task that is named so in `scope`, None if there is none. Never blocks."""
        return self._tasks.get((scope, name))

    def assign(self, connection: sqlite3.Connection, unnamed: Unnamed) -> None:
        """Name a task within a transaction, unless it has a name already."""
        query = "SELECT 1 FROM task_names WHERE task = ?"
        if connection.execute(query, (unnamed.task,)).fetchone():
            return
        rows = connection.execute("SELECT name FROM task_names WHERE scope = ?", (unnamed.scope,))
        name = _make_unique(suggest_name(unnamed.template_text, unnamed.model), {row[0] for row in rows})
        connection.execute(
            f"INSERT INTO task_names VALUES (?, ?, ?, {_NEXT})",  # noqa: S608
            (unnamed.task, unnamed.scope, name),
        )

    def assign_missing(self, tasks: Iterable[Unnamed]) -> None:
        """Name the tasks that an older stepdown adopted, if the disk takes it. May block."""
        missing = [each for each in tasks if each.task not in self._names]
        if missing and not self._database.is_detached:
            with self._database.write() as connection:
                for each in missing:
                    self.assign(connection, each)
            self.refresh()

    def rename(self, task: str, name: str) -> None:
        """Give an adopted task another name. May block. Raises ConfigError for one that it cannot have."""
        if not _NAME.fullmatch(name) or is_task_id(name):
            raise ConfigError(
                f"'{name}' is no name for a task: a-z, 0-9, '.', '_' and '-', at most {LONGEST_NAME} "
                "of them, and not the form of an id"
            )
        with self._database.write() as connection:
            try:
                connection.execute(
                    f"UPDATE task_names SET name = ?, revision = {_NEXT} WHERE task = ?",  # noqa: S608
                    (name, task),
                )
            except sqlite3.IntegrityError as exc:
                raise ConfigError(f"another task of the same owner is named '{name}'") from exc
        self.refresh()

    def refresh(self) -> None:
        """Read what other processes named; may block."""
        query = "SELECT task, scope, name, revision FROM task_names WHERE revision > ? ORDER BY revision"
        changed = self._database.read(query, (self._revision,))
        if not changed:
            return
        self._revision = changed[-1][-1]
        renamed = {row[0] for row in changed}
        kept = {key: task for key, task in self._tasks.items() if task not in renamed}
        self._names = self._names | {task: name for task, _, name, _ in changed}
        self._tasks = kept | {(scope, name): task for task, scope, name, _ in changed}


def is_task_id(text: str) -> bool:
    """Whether `text` has the form of a task's id."""
    return _ID.fullmatch(text) is not None


def suggest_name(template_text: str, model: str) -> str:
    """Return a name from the first telling words of a template, whole ones; without any from the model."""
    chosen: list[str] = []
    for word in _list_words(template_text):
        if word in _EMPTY_WORDS or word in chosen or len("-".join([*chosen, word])) > _SUGGESTED_CHARS:
            continue
        chosen.append(word)
        if len(chosen) == _SUGGESTED_WORDS:
            break
    if chosen:
        return "-".join(chosen)
    name = re.sub(r"[^a-z0-9._-]+", "-", model.lower()).strip("-._")[:_SUGGESTED_CHARS]
    return f"{name}-task" if name else "task"


def _list_words(text: str) -> list[str]:
    """Return the words of the beginning, in lower case and ASCII; what is not Latin has none."""
    plain = unicodedata.normalize("NFKD", text[:2_000].lower()).encode("ascii", "ignore").decode()
    return re.findall(r"[a-z][a-z0-9]+", plain.replace("'s", ""))


def _make_unique(name: str, taken: set[str]) -> str:
    number, unique = 1, name
    while unique in taken or is_task_id(unique):
        number += 1
        unique = f"{name}-{number}"
    return unique
