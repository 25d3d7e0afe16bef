"""Reading and writing of Parquet by DuckDB, which is imported here alone, when it is needed."""

from __future__ import annotations

import hashlib
import secrets
import socket
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from gateway.errors import ConfigError
from gateway.harvest.parts.base import Part, Span
from gateway.harvest.parts.columns import (
    SCHEMA,
    STORED,
    StoredRow,
    list_values,
    quote_name,
    row_from,
    select_kept,
    select_rows,
    select_templates,
)
from gateway.harvest.reader import Count
from gateway.harvest.shared_templates import SharedTemplate
from gateway.harvest.table import LOCAL
from gateway.store.object_storage import Storage

FOLDER = "parts"
MEMORY_MB = 256
"""Of one connection; what needs more goes to a temporary file."""


class LostPartError(Exception):
    """A part is gone: it was replaced since its manifest was read. Look at the table again."""


@contextmanager
def open_duckdb(*, threads: int = 1, memory_mb: int = MEMORY_MB) -> Iterator[Any]:
    """Give a connection that fetches no extension. Raises ConfigError without DuckDB."""
    try:
        import duckdb
    except ImportError as exc:
        raise ConfigError("harvest.parts needs DuckDB: pip install 'stepdown[data]'") from exc
    config = {
        "threads": threads,
        "memory_limit": f"{memory_mb}MB",
        "autoinstall_known_extensions": False,
        "preserve_insertion_order": True,
    }
    with duckdb.connect(config=config) as connection:
        yield connection


@contextmanager
def open_scratch() -> Iterator[Path]:
    """Give the path of a local file to write a part to before it goes to its storage."""
    with tempfile.TemporaryDirectory(prefix="stepdown-parts-") as folder:
        yield Path(folder, "part.parquet")


def name_part(task: str, day: str, writer: str) -> str:
    """Return a path for a new part; Hive's form, which Spark and others know."""
    return f"{FOLDER}/day={day}/task={quote(task, safe='')}/{writer}-{secrets.token_hex(8)}.parquet"


def name_writer(folder: Path) -> str:
    """Return the name under which the harvest in `folder` writes parts; a copy elsewhere has another."""
    place = f"{socket.gethostname()}:{folder.absolute()}:{folder.stat().st_ino if folder.exists() else 0}"
    return hashlib.sha256(place.encode()).hexdigest()[:12]


def day_of(at: float) -> str:
    """Return the UTC day of a time; a time that no calendar has belongs to the first day."""
    try:
        return time.strftime("%Y-%m-%d", time.gmtime(at))
    except (OverflowError, ValueError, OSError):
        return "1970-01-01"


def write_part(connection: Any, rows: Sequence[StoredRow], target: Path, path: str) -> Part:
    """Write `rows`, of one task and day, to the local file `target`; return the part that is to be `path`.

    Raises UnicodeDecodeError for a row that Parquet cannot hold.
    """
    load_rows(connection, rows)
    _copy(connection, "SELECT * FROM loaded", target)
    first = rows[0].row
    return _describe(connection, target, path, first.task, day_of(first.at))


def load_rows(connection: Any, rows: Sequence[StoredRow]) -> None:
    """Put `rows` into the temporary table `loaded`. Raises UnicodeDecodeError for JSON that is no text."""
    declared = ", ".join(f"{quote_name(name)} {kind}" for name, kind in STORED.items())
    values = ", ".join(f"unnest(${place}::{kind}[])" for place, kind in enumerate(STORED.values(), 1))
    connection.execute(f"CREATE OR REPLACE TEMP TABLE loaded ({declared})")
    # Column by column: 75,000 rows/s, where row by row takes a minute.
    connection.execute(f"INSERT INTO loaded SELECT {values}", list_values(rows))


def locate_parts(connection: Any, parts: Iterable[Part], storage: Storage) -> list[tuple[Part, str]]:
    """Return each part with the name by which the new `connection` reads it."""
    storage.attach(connection)
    return [(part, storage.locate(part.path)) for part in parts]


def merge_parts(
    connection: Any,
    parts: Sequence[tuple[Part, str]],
    target: Path,
    path: str,
    *,
    without: str = "false",
    parameters: Sequence[object] = (),
) -> Part | None:
    """Write the rows of located `parts`, of one task and day, to `target`, but for those that meet `without`.

    `without` is an SQL condition. Returns the part that is to be `path`; None if no row is left. Raises
    LostPartError.
    """
    with _reading():
        # The condition comes twice in it.
        kept = select_kept(select_rows(parts), f"NOT coalesce({without}, false)")
        _copy(connection, kept, target, [*parameters, *parameters])
    merged = _describe(connection, target, path, parts[0][0].task, parts[0][0].day)
    return merged if merged.rows else None


def count_rows(
    connection: Any, part: Part, storage: Storage, where: str, parameters: Sequence[object]
) -> int:
    """Return how many rows of `part` meet the SQL condition. Raises LostPartError."""
    with _reading():
        rows = select_rows(locate_parts(connection, [part], storage))
        query = f"SELECT count(*) FROM ({rows}) WHERE {where}"  # noqa: S608 - from our own code
        return int(connection.execute(query, list(parameters)).fetchone()[0])


def read_rows(
    parts: Sequence[Part],
    storage: Storage,
    where: str = "true",
    parameters: Sequence[object] = (),
    *,
    with_messages: bool = True,
) -> list[StoredRow]:
    """Return the rows of `parts` that meet the SQL condition, by time. Raises LostPartError."""
    if not parts:
        return []
    with open_duckdb() as connection, _reading():
        stored = select_rows(locate_parts(connection, parts, storage), with_messages=with_messages)
        query = f"SELECT * FROM ({stored}) WHERE {where}"  # noqa: S608 - from our own code
        records = connection.execute(query, list(parameters)).fetchall()
        shared = connection.execute(select_templates(stored)).fetchall() if records else []
    templates = {key: SharedTemplate(key, text, prefix.encode()) for key, text, prefix in shared}
    rows = [row_from(record, templates) for record in records]
    return sorted(rows, key=lambda one: one.row.at)


def hash_file(path: Path) -> str:
    """Return a file's SHA-256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _copy(connection: Any, query: str, target: Path, parameters: Sequence[object] = ()) -> None:
    connection.execute(
        f"COPY ({query} ORDER BY \"at\", outbox, number) TO '{target}' "
        f"(FORMAT parquet, COMPRESSION zstd, KV_METADATA {{stepdown_schema: '{SCHEMA}'}})",
        list(parameters),
    )


@contextmanager
def _reading() -> Iterator[None]:
    """Turn DuckDB's word for a file that is not there into ours, and for one that is damaged."""
    import duckdb

    try:
        yield
    except FileNotFoundError as exc:
        raise LostPartError from exc
    except duckdb.Error as exc:
        text = str(exc)
        if "No files found" in text or "No such file" in text or "FileNotFound" in text:
            raise LostPartError from exc
        lines = text.strip().splitlines() or [type(exc).__name__]
        # What a client of object storage raises beneath DuckDB comes as a traceback; its end is the reason.
        reason = lines[-1] if lines[0].startswith("Traceback") else lines[0]
        raise ConfigError(f"harvest.parts: {reason.strip()}") from exc


def _describe(connection: Any, target: Path, path: str, task: str, day: str) -> Part:
    file = f"read_parquet('{target}')"
    rows, training, held_out, exported, local, oldest, newest, expiry, policies = connection.execute(
        "SELECT count(*), count_if(is_lesson AND NOT is_held_out), count_if(is_held_out), "  # noqa: S608
        f'count_if(NOT is_lesson AND NOT {LOCAL}), count_if({LOCAL}), min("at"), max("at"), min(expires_at), '
        f"list_sort(list(DISTINCT policy) FILTER (policy != '')) FROM {file}"
    ).fetchone()
    spans = connection.execute(
        f"SELECT outbox, min(number), max(number) FROM {file} GROUP BY outbox ORDER BY outbox"  # noqa: S608
    ).fetchall()
    return Part(
        path=path,
        schema=SCHEMA,
        task=task,
        day=day,
        rows=rows,
        count=Count(training, held_out, exported, local),
        oldest_at=oldest or 0.0,
        newest_at=newest or 0.0,
        first_expiry=expiry,
        policies=tuple(policies or ()),
        size_bytes=target.stat().st_size,
        sha256=hash_file(target),
        spans=tuple(Span(*span) for span in spans),
    )
