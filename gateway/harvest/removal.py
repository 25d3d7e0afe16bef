"""Removing rows for good: by age and size as the retention says, or because a user asks to be forgotten."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from gateway.harvest.base import REPEATS
from gateway.harvest.retention import DAY_S, Retention
from gateway.harvest.table import LOCAL, create, delete
from gateway.store.database import Database

CLEAN_LIMIT_S = 10.0
"""Readers hold a file's log for as long as they read; a learner may read for seconds."""
_BATCH_ROWS = 500
_FIND = "SELECT request_id, at, task, text, is_held_out FROM rows WHERE "


class Forgotten(msgspec.Struct, frozen=True, array_like=True):
    """What must be known of a removed row to find its traces elsewhere; nothing of it is kept."""

    request_id: str
    at: float
    task: str
    text: str
    is_held_out: bool


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """The rows to forget: those that match every field that is not empty."""

    request_id: str = ""
    """With the rows that repeat this request; see `REPEATS`."""
    user: str = ""
    """As `hash_user` names them."""
    former_users: tuple[str, ...] = ()
    """The same user, as the machines named them that had another key before they shared one."""
    tenant: str = ""
    caller: str = ""
    task: str = ""
    before: float | None = None
    """Unix seconds."""

    def where(self) -> tuple[str, list[object]]:
        """Return the condition and its parameters. Raises ValueError for a selection of everything."""
        facts = msgspec.structs.asdict(self)
        before, request_id = facts.pop("before"), facts.pop("request_id")
        users = [user for user in (facts.pop("user"), *facts.pop("former_users")) if user]
        named = {name: value for name, value in facts.items() if value}
        # Quoted: DuckDB takes a plain `user` for the user of the database.
        clauses = [f'"{name}" = ?' for name in named]
        parameters: list[object] = list(named.values())
        if request_id:
            clauses.append('("request_id" = ? OR substr("request_id", 1, ?) = ?)')
            parameters += [request_id, len(request_id) + len(REPEATS), request_id + REPEATS]
        if users:
            clauses.append(f'"user" IN ({", ".join("?" * len(users))})')
            parameters += users
        if before is not None:
            clauses.append('"at" < ?')
            parameters.append(before)
        if not clauses:
            raise ValueError("nothing selects the rows to forget")
        return " AND ".join(clauses), parameters


def prune(folder: Path, retention: Retention, now: float) -> int:
    """Remove the rows in `folder` that may be kept no longer; return how many. May block for seconds."""
    removed = 0
    for database in _open_files(folder):
        count = _delete_expired(database, retention, now)
        if count:
            database.empty_log(CLEAN_LIMIT_S)
        removed += count
    return removed + (_prune_size(folder, retention.max_mb << 20) if retention.max_mb is not None else 0)


def find_rows(folder: Path, selection: Selection) -> list[Forgotten]:
    """Return what `forget` would remove."""
    where, parameters = selection.where()
    found = [database.read(_FIND + where, parameters) for database in _open_files(folder)]
    return _read_forgotten([row for rows in found for row in rows])


def forget(folder: Path, selection: Selection) -> list[Forgotten]:
    """Remove the selected rows from every file; return what they were. `wipe` removes their last traces."""
    where, parameters = selection.where()
    found: list[object] = []
    for database in _open_files(folder):
        with database.write() as connection:
            found += connection.execute(_FIND + where, parameters).fetchall()
            delete(connection, where, parameters)
    return _read_forgotten(found)


def wipe(folder: Path) -> bool:
    """Rewrite every file without its free pages, and empty its log; may block for seconds.

    False if a reader kept a log from being emptied: a second call may succeed.
    """
    is_wiped = True
    for database in _open_files(folder):
        database.read("VACUUM")
        is_wiped = database.empty_log(CLEAN_LIMIT_S) and is_wiped
    return is_wiped


def _read_forgotten(rows: Sequence[object]) -> list[Forgotten]:
    return [msgspec.convert(row, Forgotten, strict=False) for row in rows]


def _open_files(folder: Path) -> Iterator[Database]:
    for path in sorted(folder.glob("worker-*.db")):
        with _writing(path) as database:
            yield database


@contextmanager
def _writing(path: Path) -> Iterator[Database]:
    database = Database(path, synchronous="FULL")
    try:
        create(database)
        database.wipe_deletions()
        yield database
    finally:
        database.close()


def list_rules(retention: Retention, now: float) -> list[tuple[str, list[object]]]:
    """Return the SQL conditions, with their parameters, of rows whose time is over."""
    rules: list[tuple[str, list[object]]] = [("expires_at <= ?", [now])]
    if retention.keep_days is not None:
        rules.append(('"at" <= ?', [now - retention.keep_days * DAY_S]))
    for policy, days in retention.by_policy.items():
        rules.append(('policy = ? AND "at" <= ?', [policy, now - days * DAY_S]))
    return rules


def _delete_expired(database: Database, retention: Retention, now: float) -> int:
    with database.write() as connection:
        return sum(delete(connection, *rule) for rule in list_rules(retention, now))


def _prune_size(folder: Path, limit_bytes: int) -> int:
    """Remove the oldest rows of all files until what is left takes no more than `limit_bytes`.

    Those for exports alone go first: lessons, evidence and complaints are what specialists live on.
    """
    removed = 0
    for which in (f"(NOT is_lesson AND NOT {LOCAL})", f"(is_lesson OR {LOCAL})"):
        while sum(_used_bytes(database) for database in _open_files(folder)) > limit_bytes:
            query = f"SELECT at FROM rows WHERE {which} ORDER BY at LIMIT {_BATCH_ROWS}"  # noqa: S608
            oldest = sorted(at for database in _open_files(folder) for (at,) in database.read(query))
            if not oldest:
                break
            for database in _open_files(folder):
                with database.write() as connection:
                    removed += delete(connection, f"{which} AND at <= ?", [oldest[:_BATCH_ROWS][-1]])
                database.empty_log(CLEAN_LIMIT_S)
    return removed


def _used_bytes(database: Database) -> int:
    """Return the size of what a file holds; free pages are used again, so they do not count."""
    [(pages,)], [(free,)] = database.read("PRAGMA page_count"), database.read("PRAGMA freelist_count")
    [(page_bytes,)] = database.read("PRAGMA page_size")
    return int((pages - free) * page_bytes)
