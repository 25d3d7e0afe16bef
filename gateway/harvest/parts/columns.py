"""The columns of a part, by schema version: what a row is in Parquet, and a row of it again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from gateway.errors import ConfigError
from gateway.harvest.base import Row
from gateway.harvest.parts.base import Part
from gateway.harvest.shared_templates import LONGEST_OWN, SharedTemplate, TemplateSharer

SCHEMA = 2
"""One more with each column that is added to STORED; say in ADDED what older parts have in its place."""
ADDED: dict[str, tuple[int, str]] = {"template_key": (2, "NULL"), "prefix": (2, "NULL")}
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
SHARED = {"template_key": "VARCHAR", "prefix": "VARCHAR"}
"""A template's text and the beginning of its messages are in one row of a part; the others have its key, and
NULL for both. The messages of each are an array without those of the prefix."""
STORED = ORIGIN | COLUMNS | SHARED
_NAME = "{'outbox': outbox, 'number': number}"
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
    """Return the values of `rows` column by column, in the order of STORED.

    Raises UnicodeDecodeError for JSON that is no text.
    """
    sharer, known = TemplateSharer(), set[str]()
    records = [_record_of(one, sharer, known) for one in rows]
    return [[record[name] for record in records] for name in STORED]


def _record_of(one: StoredRow, sharer: TemplateSharer, known: set[str]) -> dict[str, Any]:
    record = {"outbox": one.outbox, "number": one.number, **msgspec.structs.asdict(one.row)}
    record |= {"template_key": None, "prefix": None, "private_kinds": list(one.row.private_kinds)}
    for name in _JSON:
        record[name] = record[name].decode()
    if len(one.row.template_text) > LONGEST_OWN:
        shared = sharer.share_template(one.row)
        record["template_key"] = shared.key
        if shared.prefix:
            record["messages"] = "[" + one.row.messages[len(shared.prefix) :].decode()
        if shared.key in known:
            record["template_text"] = None
        else:
            known.add(shared.key)
            record["prefix"] = shared.prefix.decode()
    return record


def quote_name(name: str) -> str:
    """Return a column's name as SQL has it: `at` and `user` are words of SQL."""
    return f'"{name}"'


def select_rows(parts: Iterable[tuple[Part, str]], *, with_messages: bool = True) -> str:
    """Return the SQL of all rows of `parts`, each with the name by which DuckDB reads it, as they are stored.

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
            f"{light.get(name) or _expression(name, schema)} AS {quote_name(name)}" for name in STORED
        )
        files = ", ".join("'" + location.replace("'", "''") + "'" for location in locations)
        selects.append(f"SELECT {shown} FROM read_parquet([{files}], hive_partitioning = false)")  # noqa: S608
    return " UNION ALL ".join(selects)


def select_templates(stored: str) -> str:
    """Return the SQL of the templates, with key, text and prefix, that the rows of such SQL share."""
    return (
        'SELECT template_key AS "key", any_value(template_text) AS "text", any_value(prefix) AS prefix '  # noqa: S608
        f"FROM ({stored}) WHERE template_key IS NOT NULL GROUP BY template_key"
    )


def select_whole(stored: str) -> str:
    """Return the SQL of the same rows, each with its own template and all of its messages."""
    shown = {quote_name(name): f"stored.{quote_name(name)}" for name in (*ORIGIN, *COLUMNS)}
    shown['"template_text"'] = 'coalesce(shared."text", stored.template_text)'
    shown['"messages"'] = (
        "CASE WHEN coalesce(shared.prefix, '') = '' THEN stored.messages "
        "ELSE shared.prefix || stored.messages[2:] END"
    )
    listed = ", ".join(f"{expression} AS {name}" for name, expression in shown.items())
    return (
        f"SELECT {listed} FROM ({stored}) stored LEFT JOIN ({select_templates(stored)}) shared "  # noqa: S608
        'ON stored.template_key = shared."key"'
    )


def select_kept(stored: str, kept: str) -> str:
    """Return the SQL of those rows for which the SQL condition `kept` holds, ready to be a part again.

    One of the rows that are kept has what they share, whichever had it before.
    """
    rows = f"SELECT * FROM ({stored}) WHERE {kept}"  # noqa: S608
    holders = (
        f"SELECT template_key, min({_NAME}) AS holder FROM ({rows}) "  # noqa: S608
        "WHERE template_key IS NOT NULL GROUP BY template_key"
    )
    return (
        f'SELECT one.* REPLACE (CASE WHEN holder = {_NAME} THEN shared."text" '  # noqa: S608
        "WHEN one.template_key IS NULL THEN template_text END AS template_text, "
        f"CASE WHEN holder = {_NAME} THEN shared.prefix END AS prefix) "
        f'FROM ({rows}) one LEFT JOIN ({select_templates(stored)}) shared ON one.template_key = shared."key" '
        f"LEFT JOIN ({holders}) holders ON one.template_key = holders.template_key"
    )


def row_from(values: Sequence[Any], templates: Mapping[str, SharedTemplate]) -> StoredRow:
    """Return the row of a record that `select_rows` gave; `templates` are those of all such rows, by key."""
    facts = dict(zip(STORED, values, strict=True))
    outbox, number, key, _ = (facts.pop(name) for name in (*ORIGIN, *SHARED))
    for name in _JSON:
        facts[name] = facts[name].encode()
    if key is not None:
        shared = templates[key]
        facts["template_text"] = shared.text
        if facts["messages"] and shared.prefix:
            facts["messages"] = shared.prefix + facts["messages"][1:]
    return StoredRow(outbox, number, msgspec.convert(facts, Row))


def _expression(name: str, schema: int) -> str:
    since, replacement = ADDED.get(name, (0, ""))
    return replacement if since > schema else quote_name(name)
