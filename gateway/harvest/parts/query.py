"""SQL over the harvest where its rows move to parts: DuckDB reads parts and outboxes as one table."""

from __future__ import annotations

import os
from typing import Any

from gateway.errors import ConfigError
from gateway.harvest.parts.base import Table
from gateway.harvest.parts.columns import COLUMNS, StoredRow, quote_name, select_rows, select_whole
from gateway.harvest.parts.parquet import LostPartError, load_rows, locate_parts, open_duckdb
from gateway.harvest.parts.reader import PartsAndOutboxReader
from gateway.harvest.query import Answer, describe_fault_of_query, fetch_rows, run_interruptibly
from gateway.store.object_storage import Storage

MEMORY_MB = 1024
_RESERVED = frozenset({"at", "match", "user"})
_SHOWN = [name for name in COLUMNS if name != "demands"]
# DuckDB's own words are quoted; a plain `user` would be the user of the database.
QUERY_COLUMNS = tuple(quote_name(name) if name in _RESERVED else name for name in _SHOWN)


def query_parts(reader: PartsAndOutboxReader, storage: Storage, sql: str, limit: int | None = None) -> Answer:
    """Return what `sql` selects from the table `rows`, which has the rows of all machines; at most `limit`.

    Raises ConfigError for SQL that is wrong, changes anything, or reads another file.
    """
    while True:
        table, unshipped = reader.read_unshipped()
        if not table.parts and not unshipped:
            raise ConfigError("no rows yet")
        with open_duckdb(threads=os.cpu_count() or 1, memory_mb=MEMORY_MB) as connection:
            try:
                load_rows(connection, [StoredRow("", 0, row) for row in unshipped])
                _create_view(connection, table, storage)
                return _select(connection, sql, limit)
            except LostPartError:
                continue


def _create_view(connection: Any, table: Table, storage: Storage) -> None:
    located = locate_parts(connection, table.parts.values(), storage)
    shown = ", ".join(map(quote_name, _SHOWN))
    selects = ["SELECT * FROM loaded", *([select_rows(located)] if located else [])]
    whole = select_whole(" UNION ALL ".join(selects))
    connection.execute(f"CREATE TEMP VIEW rows AS SELECT {shown} FROM ({whole})")  # noqa: S608
    # From here on a query reads these files and no other, and cannot say otherwise.
    paths = ", ".join("'" + location.replace("'", "''") + "'" for _, location in located)
    connection.execute(f"SET allowed_paths = [{paths}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def _select(connection: Any, sql: str, limit: int | None) -> Answer:
    import duckdb

    try:
        statements = connection.extract_statements(sql)
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            raise ConfigError("that is no query: only one SELECT is allowed")
        found, rows = run_interruptibly(
            lambda: fetch_rows(connection.execute(statements[0]), limit), connection.interrupt
        )
    except (duckdb.Error, FileNotFoundError) as exc:
        text = str(exc)
        if isinstance(exc, FileNotFoundError) or "No files found" in text or "No such file" in text:
            raise LostPartError from exc
        raise ConfigError(describe_fault_of_query(text.splitlines()[0], QUERY_COLUMNS)) from exc
    return Answer([name for name, *_ in found.description], rows)
