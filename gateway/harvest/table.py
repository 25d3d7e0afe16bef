"""The layout of harvested rows in SQLite, known to the outbox and the reader alone."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

import msgspec

from gateway.harvest.base import Row
from gateway.store.database import Database, insert_rows

COLUMNS = Row.__struct_fields__
SCHEMA = """
CREATE TABLE IF NOT EXISTS rows (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    request_id TEXT NOT NULL,
    at REAL NOT NULL,
    task TEXT NOT NULL,
    match TEXT NOT NULL,
    model TEXT NOT NULL,
    template TEXT NOT NULL,
    template_text TEXT NOT NULL,
    contract_hash TEXT NOT NULL,
    text TEXT NOT NULL,
    answer TEXT NOT NULL,
    messages BLOB NOT NULL,
    is_held_out INTEGER NOT NULL,
    propensity REAL NOT NULL,
    ending TEXT NOT NULL,
    form TEXT NOT NULL,
    demands BLOB NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    caller TEXT NOT NULL,
    tenant TEXT NOT NULL,
    is_vouched_for INTEGER NOT NULL,
    scope TEXT NOT NULL,
    place TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS rows_by_task ON rows (task, is_held_out);
"""


def create(database: Database) -> None:
    """Make the table in a new file."""
    database.create(SCHEMA)


def insert(connection: sqlite3.Connection, rows: Iterable[Row]) -> None:
    """Add `rows` inside the transaction that is open."""
    insert_rows(connection, "rows", COLUMNS, [msgspec.structs.astuple(row) for row in rows])


def row_from(record: tuple[object, ...]) -> Row:
    """Return the Row of a record read in the order of `COLUMNS`."""
    # SQLite has no booleans: lax conversion turns its 0 and 1 back.
    return msgspec.convert(dict(zip(COLUMNS, record, strict=True)), Row, strict=False)
