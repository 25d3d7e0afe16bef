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
CREATE TABLE IF NOT EXISTS templates (key TEXT PRIMARY KEY, text TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS removals (
    task TEXT NOT NULL,
    is_held_out INTEGER NOT NULL,
    count INTEGER NOT NULL
);
"""
_BLOBS = frozenset({"messages", "demands"})
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
"""In the place of a template's text: what follows is its key in `templates`, where it lies once."""
_LONGEST_OWN = 200
"""Characters of a template that each row keeps for itself."""
_TEMPLATE = PLAIN.index("template_text")
_HASH_BYTES = 16
_defaults = {field.name: field.default for field in msgspec.structs.fields(Row)}
# A Row ends with the fields of CONTRACT, then those of MORE.
_PLAIN, _CONTRACT = slice(len(PLAIN)), slice(len(PLAIN), len(PLAIN + CONTRACT))
_MORE = slice(len(PLAIN + CONTRACT), None)
_PLAIN_CONTRACT = tuple(_defaults[name] for name in CONTRACT)
_PLAIN_MORE = tuple(_defaults[name] for name in MORE)
_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(list[Any]).decode
_messages = msgspec.json.Decoder(list[msgspec.Raw])


def create(database: Database) -> None:
    """Make the tables in a new file; add to an older one what it lacks."""
    database.create(SCHEMA + ORIGINS)
    if len(database.read("PRAGMA table_info(rows)")) <= len(COLUMNS):
        with database.write() as connection:
            # Read again under the lock: two processes may open an older file at once.
            known = {name for _, name, *_ in connection.execute("PRAGMA table_info(rows)")}
            for name in [name for name in ADDED if name not in known]:
                connection.execute(f"ALTER TABLE rows ADD COLUMN {name} {ADDED[name]}")
    database.create(_INDEXES)
    stamp_origin(database)


def insert(connection: sqlite3.Connection, rows: Iterable[Row]) -> None:
    """Add `rows` inside the transaction that is open."""
    records: list[tuple[object, ...]] = []
    contracts: dict[bytes, bytes] = {}
    templates: dict[str, str] = {}
    for row in rows:
        values = msgspec.structs.astuple(row)
        plain, contract, more = list(values[_PLAIN]), values[_CONTRACT], values[_MORE]
        if len(row.template_text) > _LONGEST_OWN or row.template_text.startswith(SHARED):
            key = _key_of_template(row)
            templates[key] = row.template_text
            plain[_TEMPLATE] = SHARED + key
        digest = None
        if contract != _PLAIN_CONTRACT:
            packed = _pack(contract)
            digest = blake2b(packed, digest_size=_HASH_BYTES).digest()
            contracts[digest] = packed
        records.append((*plain, digest, None if more == _PLAIN_MORE else _pack(more)))
    if templates:
        connection.executemany("INSERT OR IGNORE INTO templates VALUES (?, ?)", templates.items())
    if contracts:
        connection.executemany("INSERT OR IGNORE INTO contracts VALUES (?, ?)", contracts.items())
    insert_rows(connection, "rows", COLUMNS, records)


def read_more(more: bytes | None, field: str) -> Any:
    """Return a field of those that few rows have, from the column that holds them all."""
    values = _PLAIN_MORE if more is None else _unpack(more)
    place = MORE.index(field)
    value = values[place] if place < len(values) else _PLAIN_MORE[place]
    return " ".join(value) if isinstance(value, list | tuple) else value


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


def _key_of_template(row: Row) -> str:
    """Return the key of a template's text: its fingerprint stands for it, and for what was redacted in it."""
    return " ".join((row.template, *row.private_kinds))


class RowReader:
    """Reads rows of one file, over a connection that gives texts as bytes; what rows share is read once."""

    def __init__(self, connection: sqlite3.Connection, schema: str = "main") -> None:
        self._connection = connection
        columns = connection.execute(f"PRAGMA {schema}.table_info(rows)")
        self._known = {name.decode() if isinstance(name, bytes) else name for _, name, *_ in columns}
        self._schema = schema
        self._contracts: dict[bytes, dict[str, object]] = {}
        self._templates: dict[str, str] = {}

    @property
    def has_rows(self) -> bool:
        """Whether the file has the table at all."""
        return bool(self._known)

    @property
    def lesson(self) -> str:
        """The condition that tells lessons from rows for exports alone."""
        return "is_lesson" if "is_lesson" in self._known else "1"

    def list_columns(self, *, with_messages: bool) -> str:
        """Return the expressions that read each of `COLUMNS`, from a file of this or an older stepdown."""
        left_out = {} if with_messages else {"messages": "x''", "contract": "NULL", "more": "NULL"}
        return ", ".join(left_out.get(name) or self._expression(name) for name in COLUMNS)

    def list_expressions(self) -> dict[str, str]:
        """Return by column of `COLUMNS` the expression that reads it, also where rows share it."""
        expressions = {name: self._expression(name) for name in COLUMNS}
        templates = f"SELECT 1 FROM {self._schema}.sqlite_master WHERE name = 'templates'"  # noqa: S608
        if self._connection.execute(templates).fetchone():
            shared = f"SELECT text FROM {self._schema}.templates WHERE key = substr(template_text, 2)"  # noqa: S608
            expressions["template_text"] = (
                f"CASE WHEN substr(template_text, 1, 1) = char({ord(SHARED)}) "
                f"THEN ({shared}) ELSE template_text END"
            )
        return expressions

    def row_from(self, record: Sequence[object]) -> Row:
        """Return the Row of a record read in the order of `COLUMNS`.

        Raises ValueError or a MsgspecError if it holds what no outbox writes.
        """
        *plain, contract, more = record
        facts = dict(zip(PLAIN, plain, strict=True))
        for name, value in facts.items():
            if isinstance(value, bytes) and name not in _BLOBS:
                facts[name] = value.decode()
        if str(facts["template_text"]).startswith(SHARED):
            facts["template_text"] = self._template_of(str(facts["template_text"])[1:])
        if isinstance(contract, bytes):
            facts |= self._contract_of(contract)
        if isinstance(more, bytes):
            # An older stepdown wrote fewer.
            facts |= zip(MORE, _unpack(more), strict=False)
        # SQLite has no booleans: lax conversion turns its 0 and 1 back.
        row = msgspec.convert(facts, Row, strict=False)
        if row.messages:
            # The decoder does not look into the texts that it skips; exports do.
            _messages.decode(row.messages.decode())
        return row

    def _expression(self, name: str) -> str:
        if name in self._known:
            return name
        return ADDED[name].partition("DEFAULT ")[2] or "NULL"

    def _template_of(self, key: str) -> str:
        if key not in self._templates:
            found = self._connection.execute("SELECT text FROM templates WHERE key = ?", (key,)).fetchone()
            if found is None:
                raise ValueError("the template that the row shares with others is missing")
            self._templates[key] = found[0].decode() if isinstance(found[0], bytes) else found[0]
        return self._templates[key]

    def _contract_of(self, digest: bytes) -> dict[str, object]:
        if digest not in self._contracts:
            query = "SELECT content FROM contracts WHERE hash = ?"
            found = self._connection.execute(query, (digest,)).fetchone()
            if found is None:
                raise ValueError("what the row shares with others is missing")
            self._contracts[digest] = dict(zip(CONTRACT, _unpack(found[0]), strict=True))
        return self._contracts[digest]
