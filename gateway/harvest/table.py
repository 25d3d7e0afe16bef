"""The layout of harvested rows in SQLite, known to this room alone."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any

import msgspec

from gateway.harvest.base import Row
from gateway.harvest.origins import SCHEMA as ORIGINS
from gateway.harvest.origins import stamp_origin
from gateway.harvest.shared_templates import LONGEST_OWN, SharedTemplate, TemplateSharer
from gateway.store.database import Database, insert_rows

CONTRACT = ("tools", "response_format", "may_call_in_parallel")
"""What an app repeats from request to request: stored once, the row has its hash, NULL for the default."""
MORE = ("reply", "draft", "draft_version", "draft_score", "private_kinds", "is_restricted")
"""What few rows have: one column for all of it, NULL for none. Each column costs a write 0.3 us."""
PLAIN = Row.__struct_fields__[: -len(CONTRACT + MORE)]
COLUMNS = (*PLAIN, "contract", "more")
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
CREATE TABLE IF NOT EXISTS contracts (hash BLOB PRIMARY KEY, content BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS templates (key TEXT PRIMARY KEY, text TEXT NOT NULL, prefix BLOB);
CREATE TABLE IF NOT EXISTS removals (
    task TEXT NOT NULL,
    is_held_out INTEGER NOT NULL,
    count INTEGER NOT NULL
);
"""
LOCAL = "(ending = 'none')"
"""The condition of rows that are local, see `Row.is_local`; here and in parts."""
BLOBS = frozenset({"messages", "demands"})
ADDED = {
    "is_lesson": "INTEGER NOT NULL DEFAULT 1",
    "policy": "TEXT NOT NULL DEFAULT ''",
    "user": "TEXT NOT NULL DEFAULT ''",
    "expires_at": "REAL",
    "contract": "BLOB",
    "more": "BLOB",
}
"""Columns that a file of an older stepdown gets when it is next written to."""
_INDEXES = """
CREATE INDEX IF NOT EXISTS rows_by_time ON rows (at);
CREATE INDEX IF NOT EXISTS rows_by_expiry ON rows (expires_at) WHERE expires_at IS NOT NULL;
"""
SHARED = "\x1a"
"""In the place of a template's text: what follows is its key in `templates`, where it lies once. Before
messages: the template's prefix comes first."""
SHARED_BYTE = SHARED.encode()
_TEMPLATE, _MESSAGES = PLAIN.index("template_text"), PLAIN.index("messages")
_HASH_BYTES = 16
_defaults = {field.name: field.default for field in msgspec.structs.fields(Row)}
# A Row ends with the fields of CONTRACT, then those of MORE.
_PLAIN, _CONTRACT = slice(len(PLAIN)), slice(len(PLAIN), len(PLAIN + CONTRACT))
_MORE = slice(len(PLAIN + CONTRACT), None)
_PLAIN_CONTRACT = tuple(_defaults[name] for name in CONTRACT)
PLAIN_MORE = tuple(_defaults[name] for name in MORE)
_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(list[Any]).decode
_messages = msgspec.json.Decoder(list[msgspec.Raw])


def create(database: Database) -> None:
    """Make the tables in a new file; add to an older one what it lacks."""
    database.create(SCHEMA + ORIGINS)
    _add_prefix(database)
    if len(database.read("PRAGMA table_info(rows)")) <= len(COLUMNS):
        with database.write() as connection:
            # Read again under the lock: two processes may open an older file at once.
            known = {name for _, name, *_ in connection.execute("PRAGMA table_info(rows)")}
            for name in [name for name in ADDED if name not in known]:
                connection.execute(f"ALTER TABLE rows ADD COLUMN {name} {ADDED[name]}")
    database.create(_INDEXES)
    stamp_origin(database)


def insert(connection: sqlite3.Connection, rows: Iterable[Row], sharer: TemplateSharer) -> None:
    """Add `rows` inside the transaction that is open."""
    records: list[tuple[object, ...]] = []
    contracts: dict[bytes, bytes] = {}
    templates: dict[str, SharedTemplate] = {}
    for row in rows:
        values = msgspec.structs.astuple(row)
        plain, contract, more = list(values[_PLAIN]), values[_CONTRACT], values[_MORE]
        if len(row.template_text) > LONGEST_OWN or row.template_text.startswith(SHARED):
            shared = sharer.share_template(row)
            templates[shared.key] = shared
            plain[_TEMPLATE] = SHARED + shared.key
            if shared.prefix:
                plain[_MESSAGES] = SHARED_BYTE + row.messages[len(shared.prefix) :]
        digest = None
        if contract != _PLAIN_CONTRACT:
            packed = _pack(contract)
            digest = blake2b(packed, digest_size=_HASH_BYTES).digest()
            contracts[digest] = packed
        records.append((*plain, digest, None if more == PLAIN_MORE else _pack(more)))
    if templates:
        stored = [(each.key, each.text, each.prefix) for each in templates.values()]
        connection.executemany("INSERT OR IGNORE INTO templates (key, text, prefix) VALUES (?, ?, ?)", stored)
    if contracts:
        connection.executemany("INSERT OR IGNORE INTO contracts VALUES (?, ?)", contracts.items())
    insert_rows(connection, "rows", COLUMNS, records)


def delete(connection: sqlite3.Connection, where: str, parameters: Sequence[object] = ()) -> int:
    """Delete the rows that match, and what none shares any more, in the open transaction; return how many.

    How many lessons and how much evidence each task has lost is noted: who counts what came counts them.
    """
    connection.execute(
        "INSERT INTO removals SELECT task, is_held_out, count(*) FROM rows "  # noqa: S608
        f"WHERE is_lesson AND ({where}) GROUP BY task, is_held_out",
        tuple(parameters),
    )
    count = connection.execute(f"DELETE FROM rows WHERE {where}", tuple(parameters)).rowcount  # noqa: S608
    if count:
        _delete_unshared(connection)
    return count


def set_aside(database: Database, numbers: Sequence[int]) -> None:
    """Keep these rows in the file, which cannot be read, whatever moves out of it."""
    if numbers:
        with database.write() as connection:
            connection.executemany("INSERT OR IGNORE INTO set_aside VALUES (?)", [(row,) for row in numbers])


def delete_shipped(connection: sqlite3.Connection, last: int) -> None:
    """Delete the rows up to number `last`, which parts hold now, in the open transaction.

    They are no removals. What is set aside stays.
    """
    connection.execute("DELETE FROM rows WHERE id <= ? AND id NOT IN (SELECT id FROM set_aside)", (last,))
    _delete_unshared(connection)
    connection.execute("DELETE FROM shipped")
    connection.execute("INSERT INTO shipped VALUES (?)", (last,))


def _delete_unshared(connection: sqlite3.Connection) -> None:
    """Delete what rows shared and none has any more."""
    connection.execute(
        "DELETE FROM contracts WHERE hash NOT IN (SELECT contract FROM rows WHERE contract IS NOT NULL)"
    )
    connection.execute(
        "DELETE FROM templates WHERE key NOT IN "
        "(SELECT substr(template_text, 2) FROM rows WHERE substr(template_text, 1, 1) = ?)",
        (SHARED,),
    )


def _add_prefix(database: Database) -> None:
    """Give the templates of an older file the column for what their rows' messages begin with."""
    columns = "SELECT 1 FROM pragma_table_info('templates') WHERE name = 'prefix'"
    if not database.read(columns):
        with database.write() as connection:
            if not connection.execute(columns).fetchone():
                connection.execute("ALTER TABLE templates ADD COLUMN prefix BLOB")
