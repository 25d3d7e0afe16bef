"""Reading of harvested rows from SQLite, from files of this stepdown or an older one."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

import msgspec

from gateway.harvest.base import Row
from gateway.harvest.shared_templates import SharedTemplate
from gateway.harvest.table import (
    ADDED,
    BLOBS,
    COLUMNS,
    CONTRACT,
    MORE,
    PLAIN,
    PLAIN_MORE,
    SHARED,
    SHARED_BYTE,
)

_unpack = msgspec.msgpack.Decoder(list[Any]).decode
_messages = msgspec.json.Decoder(list[msgspec.Raw])


class RowReader:
    """Reads rows of one file, over a connection that gives texts as bytes; what rows share is read once."""

    def __init__(self, connection: sqlite3.Connection, schema: str = "main") -> None:
        self._connection = connection
        columns = connection.execute(f"PRAGMA {schema}.table_info(rows)")
        self._known = {name.decode() if isinstance(name, bytes) else name for _, name, *_ in columns}
        self._schema = schema
        self._contracts: dict[bytes, dict[str, object]] = {}
        self._templates: dict[str, SharedTemplate] = {}

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
        expressions["messages"] = "CAST(messages AS TEXT)"
        columns = self._connection.execute(f"PRAGMA {self._schema}.table_info(templates)")
        known = {name.decode() if isinstance(name, bytes) else name for _, name, *_ in columns}
        read = f"FROM {self._schema}.templates WHERE key = substr(template_text, 2)"
        shared = f"= char({ord(SHARED)})"
        if "text" in known:
            expressions["template_text"] = (
                f"CASE WHEN substr(template_text, 1, 1) {shared} "
                f"THEN (SELECT text {read}) ELSE template_text END"
            )
        if "prefix" in known:
            expressions["messages"] = (
                f"CASE WHEN substr(CAST(messages AS TEXT), 1, 1) {shared} THEN "
                f"(SELECT CAST(prefix AS TEXT) {read}) || CAST(substr(messages, 2) AS TEXT) "
                "ELSE CAST(messages AS TEXT) END"
            )
        return expressions

    def row_from(self, record: Sequence[object]) -> Row:
        """Return the Row of a record read in the order of `COLUMNS`.

        Raises ValueError or a MsgspecError if it holds what no outbox writes.
        """
        *plain, contract, more = record
        facts: dict[str, Any] = dict(zip(PLAIN, plain, strict=True))
        for name, value in facts.items():
            if isinstance(value, bytes) and name not in BLOBS:
                facts[name] = value.decode()
        prefix = b""
        if str(facts["template_text"]).startswith(SHARED):
            shared = self._template_of(facts["template_text"][1:])
            facts["template_text"], prefix = shared.text, shared.prefix
        facts["messages"] = _complete(facts["messages"], prefix)
        if isinstance(contract, bytes):
            facts |= self._contract_of(contract)
        if isinstance(more, bytes):
            # An older stepdown wrote fewer.
            facts |= zip(MORE, _unpack(more), strict=False)
        # SQLite has no booleans: lax conversion turns its 0 and 1 back.
        return msgspec.convert(facts, Row, strict=False)

    def _expression(self, name: str) -> str:
        if name in self._known:
            return name
        return ADDED[name].partition("DEFAULT ")[2] or "NULL"

    def _template_of(self, key: str) -> SharedTemplate:
        if key not in self._templates:
            found = self._connection.execute("SELECT * FROM templates WHERE key = ?", (key,)).fetchone()
            if found is None:
                raise ValueError("the template that the row shares with others is missing")
            # An older stepdown had no prefixes.
            _, text, prefix = (*found, None)[:3]
            if prefix:
                _check_messages(prefix.rstrip()[:-1] + b"]")
            self._templates[key] = SharedTemplate(key, text.decode(), prefix or b"")
        return self._templates[key]

    def _contract_of(self, digest: bytes) -> dict[str, object]:
        if digest not in self._contracts:
            query = "SELECT content FROM contracts WHERE hash = ?"
            found = self._connection.execute(query, (digest,)).fetchone()
            if found is None:
                raise ValueError("what the row shares with others is missing")
            self._contracts[digest] = dict(zip(CONTRACT, _unpack(found[0]), strict=True))
        return self._contracts[digest]


def read_more(more: bytes | None, field: str) -> Any:
    """Return a field of those that few rows have, from the column that holds them all."""
    values = PLAIN_MORE if more is None else _unpack(more)
    place = MORE.index(field)
    value = values[place] if place < len(values) else PLAIN_MORE[place]
    return " ".join(value) if isinstance(value, list | tuple) else value


def _complete(messages: object, prefix: bytes) -> bytes:
    """Return the messages of a row, before which its template's prefix may have been left out."""
    if not isinstance(messages, bytes):
        raise TypeError("messages are no bytes")
    if messages.startswith(SHARED_BYTE):
        _check_messages(b"[" + messages[1:])
        return prefix + messages[1:]
    if messages:
        _check_messages(messages)
    return messages


def _check_messages(messages: bytes) -> None:
    # The decoder does not look into the texts that it skips; exports do.
    _messages.decode(messages.decode())
