"""The columns of a part, by schema version: what a row is in Parquet, and a row of it again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from gateway.errors import ConfigError
from gateway.harvest.base import Row
from gateway.harvest.parts.base import Part

SCHEMA = 1
"""One more with each column that is added to COLUMNS; say in ADDED what older parts have in its place."""
ADDED: dict[str, tuple[int, str]] = {}
"""By column, the schema that brought it, and the SQL of what stands for it in an older part."""

ORIGIN = {"outbox": "VARCHAR", "number": "BIGINT"}
"""The name of a row: of all rows ever, no two have the same."""
COLUMNS = {
    "request_id": "VARCHAR",
    "at": "DOUBLE",
    "task": "VARCHAR",
    "match": "VARCHAR",
    "model": "VARCHAR",
    "template": "VARCHAR",
    "template_text": "VARCHAR",
    "contract_hash": "VARCHAR",
    "text": "VARCHAR",
    "answer": "VARCHAR",
    "messages": "VARCHAR",
    "is_held_out": "BOOLEAN",
    "propensity": "DOUBLE",
    "ending": "VARCHAR",
    "form": "VARCHAR",
    "demands": "BLOB",
    "prompt_tokens": "BIGINT",
    "completion_tokens": "BIGINT",
    "caller": "VARCHAR",
    "tenant": "VARCHAR",
    "is_vouched_for": "BOOLEAN",
    "scope": "VARCHAR",
    "place": "VARCHAR",
    "is_lesson": "BOOLEAN",
    "policy": "VARCHAR",
    "user": "VARCHAR",
    "expires_at": "DOUBLE",
    "tools": "VARCHAR",
    "response_format": "VARCHAR",
    "may_call_in_parallel": "BOOLEAN",
    "reply": "VARCHAR",
    "draft": "VARCHAR",
    "draft_version": "BIGINT",
    "draft_score": "DOUBLE",
    "private_kinds": "VARCHAR[]",
    "is_restricted": "BOOLEAN",
}
"""The fields of a Row, in their order, and DuckDB's type of each."""
_JSON = frozenset({"messages", "tools", "response_format", "reply"})
"""Bytes in a Row, and text in a part."""
_HEAVY = {
    "messages": "''",
    "tools": "''",
    "response_format": "''",
    "may_call_in_parallel": "true",
    "reply": "''",
    "draft": "''",
    "draft_version": "0",
    "draft_score": "0.0",
    "private_kinds": "[]::VARCHAR[]",
    "is_restricted": "false",
}
"""What a learner does not need, and what it gets instead: the same as from an outbox."""


class StoredRow(msgspec.Struct, frozen=True):
    """A row with its name."""

    outbox: str
    number: int
    row: Row


def list_values(rows: Sequence[StoredRow]) -> list[list[Any]]:
    """Return the values of `rows` column by column, those of ORIGIN first.

    Raises UnicodeDecodeError for JSON that is no text.
    """
    columns: list[list[Any]] = [[one.outbox for one in rows], [one.number for one in rows]]
    for name in COLUMNS:
        values = [getattr(one.row, name) for one in rows]
        if name in _JSON:
            values = [value.decode() for value in values]
        elif name == "private_kinds":
            values = [list(value) for value in values]
        columns.append(values)
    return columns


def quote_name(name: str) -> str:
    """Return a column's name as SQL has it: `at` and `user` are words of SQL."""
    return f'"{name}"'


def select_rows(parts: Iterable[tuple[Part, str]], *, with_messages: bool = True) -> str:
    """Return the SQL of all rows of `parts`, each with the name by which DuckDB reads it.

    Columns are those of the current schema whatever the parts have. Raises ConfigError for a part of a
    newer stepdown.
    """
    by_schema: dict[int, list[str]] = {}
    for part, location in parts:
        by_schema.setdefault(part.schema, []).append(location)
    if by_schema and max(by_schema) > SCHEMA:
        raise ConfigError(f"parts of schema {max(by_schema)} were written by a newer stepdown: upgrade")
    light = {} if with_messages else _HEAVY
    selects = []
    for schema, locations in sorted(by_schema.items()):
        shown = ", ".join(
            f"{light.get(name) or _expression(name, schema)} AS {quote_name(name)}"
            for name in (*ORIGIN, *COLUMNS)
        )
        files = ", ".join("'" + location.replace("'", "''") + "'" for location in locations)
        selects.append(f"SELECT {shown} FROM read_parquet([{files}], hive_partitioning = false)")  # noqa: S608
    return " UNION ALL ".join(selects)


def row_from(values: Sequence[Any]) -> StoredRow:
    """Return the row of a record that `select_rows` gave."""
    outbox, number, *rest = values
    facts = dict(zip(COLUMNS, rest, strict=True))
    for name in _JSON:
        facts[name] = facts[name].encode()
    return StoredRow(outbox, number, msgspec.convert(facts, Row))


def _expression(name: str, schema: int) -> str:
    since, replacement = ADDED.get(name, (0, ""))
    return replacement if since > schema else quote_name(name)
