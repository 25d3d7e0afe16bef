"""SQL over the harvest of all workers, read-only.

SQLite itself answers: rows lie in its files, and what another engine would have to copy first is there.
"""

from __future__ import annotations

import re
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing, contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from gateway.errors import ConfigError
from gateway.harvest.row_reader import RowReader, read_more
from gateway.harvest.table import MORE, PLAIN
from gateway.store.database import UNREADABLE_FILE, describe_fault

MOST_FILES = 10
"""SQLite's limit on files of one connection."""
_LEFT_OUT = frozenset({"demands", "contract", "more"})
"""Packed; of `more` there are the fields."""
QUERY_COLUMNS = tuple(name for name in (*PLAIN, *MORE) if name not in _LEFT_OUT)
_UNKNOWN_COLUMN = re.compile(r"""column:? ['"]?(?P<name>\w+)""")
_READS = frozenset(
    {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
)
_MOST_RESULT_BYTES = 1 << 30
_VALUE_BYTES = 64
"""Of a value beside its letters: Python's own, and its place in the row."""
_ASK_AGAIN_S = 0.05
T = TypeVar("T")


class Answer(msgspec.Struct, frozen=True):
    """The columns and rows that a query gave."""

    columns: list[str]
    rows: list[Sequence[Any]]


def run_query(folder: Path, sql: str, limit: int | None = None) -> Answer:
    """Return what `sql` selects from the table `rows`, which has the rows of all workers; at most `limit`.

    Raises ConfigError for SQL that is wrong or would change anything.
    """
    paths = sorted(folder.glob("worker-*.db"))
    if not paths:
        raise ConfigError(f"no rows yet in {folder}")
    if len(paths) > MOST_FILES:
        raise ConfigError(
            f"{len(paths)} files in {folder}; SQL reads {MOST_FILES}: use `harvest export --format parquet`"
        )
    with _open(paths) as connection:
        try:
            found, rows = run_interruptibly(
                lambda: fetch_rows(connection.execute(sql), limit), connection.interrupt
            )
        except (sqlite3.Error, sqlite3.Warning) as exc:
            raise ConfigError(describe_fault_of_query(str(exc), QUERY_COLUMNS)) from exc
        if found.description is None:
            raise ConfigError("that is no query: only SELECT is allowed")
        return Answer([name for name, *_ in found.description], rows)


def fetch_rows(found: Any, limit: int | None) -> tuple[Any, list[Sequence[Any]]]:
    """Return a cursor and its rows, at most `limit`. Raises ConfigError for what would fill the memory."""
    rows: list[Sequence[Any]] = []
    size = 0
    # One by one: a few rows with values of the most that a database makes would fill the memory.
    while (limit is None or len(rows) < limit) and (row := found.fetchone()) is not None:
        rows.append(row)
        size += sum(_measure(value) for value in row)
        if size > _MOST_RESULT_BYTES:
            raise ConfigError("the result is larger than 1 GB: select less, or use `harvest export`")
    return found, rows


def _measure(value: object) -> int:
    return _VALUE_BYTES + (len(value) if isinstance(value, str | bytes) else 0)


def run_interruptibly(work: Callable[[], T], interrupt: Callable[[], object]) -> T:
    """Return what `work` gives, from a thread of its own: a database at work would not hear Ctrl-C.

    `interrupt` ends what the database does then.
    """
    ended: Future[T] = Future()

    def run() -> None:
        try:
            ended.set_result(work())
        except Exception as exc:
            ended.set_exception(exc)

    # A daemon: who presses the keys twice waits for nothing.
    thread = threading.Thread(target=run, name="query", daemon=True)
    try:
        thread.start()
        return ended.result()
    finally:
        # Again and again: one that comes before the query has begun is lost. And wherever the keys were
        # pressed, in the start of the thread, too.
        while thread.is_alive():
            thread.join(_ASK_AGAIN_S)
            if thread.is_alive():
                interrupt()


def describe_fault_of_query(message: str, columns: Sequence[str]) -> str:
    """Return a database's message in one line, with the column that was perhaps meant."""
    unknown = _UNKNOWN_COLUMN.search(message)
    near = get_close_matches(unknown["name"], columns, 1) if unknown else []
    meant = f" (did you mean '{near[0]}'?)" if near else ""
    return (
        f"{message.rstrip('.!')}{meant}; one SELECT may read the table `rows`: `stepdown harvest query` "
        "lists its columns"
    )


@contextmanager
def _open(paths: Sequence[Path]) -> Iterator[sqlite3.Connection]:
    with closing(_connect()) as connection:
        connection.create_function("field_of_more", 2, read_more, deterministic=True)
        selects = [_attach(connection, path, f"worker_{number}") for number, path in enumerate(paths)]
        selects = [select for select in selects if select]
        if not selects:
            raise ConfigError("no rows yet: no worker has written any")
        # A temporary view may look into every file that is attached.
        connection.execute(f"CREATE TEMP VIEW rows AS {' UNION ALL '.join(selects)}")
        connection.set_authorizer(_allow_reads)
        yield connection


def _connect() -> sqlite3.Connection:
    return sqlite3.connect(":memory:", uri=True, isolation_level=None, check_same_thread=False)


def _attach(connection: sqlite3.Connection, path: Path, name: str) -> str:
    """Attach a worker's file and return the query of its rows; empty if it has none yet."""
    try:
        connection.execute(f"ATTACH ? AS {name}", (f"{path.absolute().as_uri()}?mode=ro",))
        reader = RowReader(connection, name)
        if not reader.has_rows:
            return ""
        expressions = reader.list_expressions()
    except UNREADABLE_FILE as exc:
        raise ConfigError(describe_fault(path, exc)) from exc
    more = expressions["more"]
    expressions |= {field: f"field_of_more({more}, '{field}')" for field in MORE}
    shown = [column for column in expressions if column not in _LEFT_OUT]
    named = ", ".join(f"{expressions[column]} AS {column}" for column in shown)
    return f"SELECT {named} FROM {name}.rows"  # noqa: S608 - names from our own code


def _allow_reads(action: int, first: str | None, *_: str | None) -> int:
    if action not in _READS:
        return sqlite3.SQLITE_DENY
    # It reads and runs files of the machine.
    return sqlite3.SQLITE_DENY if first == "load_extension" else sqlite3.SQLITE_OK
