"""The tables of the gateway's keys, and the way there from the table of older versions."""

from __future__ import annotations

import sqlite3

import msgspec

from gateway.core import Grant, Limits
from gateway.store.database import Database

_SCHEMA = """
CREATE TABLE IF NOT EXISTS gateway_keys (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    tenant TEXT NOT NULL,
    terms TEXT NOT NULL,
    created_at REAL NOT NULL,
    revoked_at REAL
);
CREATE TABLE IF NOT EXISTS key_secrets (
    hash TEXT PRIMARY KEY,
    key_id TEXT NOT NULL,
    created_at REAL NOT NULL,
    valid_until REAL
);
CREATE TABLE IF NOT EXISTS key_changes (count INTEGER NOT NULL);
"""
_OLD_TABLE = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'keys'"


class KeyTerms(msgspec.Struct, frozen=True, kw_only=True):
    """The terms that a key is given on; kept as JSON, so that a later version can add some."""

    is_trusted: bool = False
    may_force_local: bool = False
    expires_at: float | None = None
    grant: Grant = Grant()
    limits: Limits = Limits()


def create_key_tables(database: Database) -> None:
    """Make the tables, and move the keys of an older version into them.

    The old table goes: an older stepdown would ignore what a key must not do. It finds no keys then,
    and refuses all.
    """
    database.create(_SCHEMA)
    if database.read("SELECT 1 FROM key_changes") and not database.read(_OLD_TABLE):
        # A full disk takes no transaction, and none is needed.
        return
    with database.write() as connection:
        if not connection.execute("SELECT 1 FROM key_changes").fetchone():
            connection.execute("INSERT INTO key_changes VALUES (0)")
        if connection.execute(_OLD_TABLE).fetchone():
            _move_old_keys(connection)


def note_key_change(connection: sqlite3.Connection) -> None:
    """Let every process see that keys have changed, without reading them all."""
    connection.execute("UPDATE key_changes SET count = count + 1")


def _move_old_keys(connection: sqlite3.Connection) -> None:
    rows = connection.execute(
        "SELECT id, name, tenant, hash, is_trusted, may_force_local, created_at, revoked_at FROM keys"
    ).fetchall()
    for key_id, name, tenant, key_hash, is_trusted, may_force_local, created_at, revoked_at in rows:
        terms = KeyTerms(is_trusted=bool(is_trusted), may_force_local=bool(may_force_local))
        # Nameless keys were known to policies by their id.
        facts = (key_id, name or key_id, tenant, msgspec.json.encode(terms).decode(), created_at, revoked_at)
        connection.execute("INSERT OR IGNORE INTO gateway_keys VALUES (?, ?, ?, ?, ?, ?)", facts)
        connection.execute(
            "INSERT OR IGNORE INTO key_secrets VALUES (?, ?, ?, NULL)", (key_hash, key_id, created_at)
        )
    connection.execute("DROP TABLE keys")
    note_key_change(connection)
