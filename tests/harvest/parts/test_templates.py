"""A template lies in a part once, whatever is merged or removed; rows and SQL do not show it."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from gateway.harvest.base import Row
from gateway.harvest.parts import columns, parquet
from gateway.harvest.parts.compaction import FAN_IN, Compactor
from gateway.harvest.parts.parquet import open_duckdb
from gateway.harvest.parts.query import query_parts
from gateway.harvest.parts.removal import PartsRemoval
from gateway.harvest.removal import Selection
from gateway.store.object_storage import LocalFolder
from tests.harvest.parts.conftest import Machine

MakeRow = Callable[..., Row]
OpenMachine = Callable[..., Machine]
TEXT = "You sort questions. " * 50


def long_row(row: MakeRow, number: int, *, text: str = TEXT, user: str = "joe") -> Row:
    conversation = [{"role": "system", "content": text}, {"role": "user", "content": f"question {number}"}]
    return row(
        request_id=f"r{number}",
        at=float(number),
        template=f"of {len(text)}",
        template_text=text,
        messages=json.dumps(conversation).encode(),
        user=user,
    )


def rows_of(one: Machine) -> list[Row]:
    return one.reader.rows("cards").rows


def count_texts(storage: LocalFolder, one: Machine) -> list[int]:
    """Return how many rows of each live part hold the text of their template."""
    query = "SELECT count(template_text), count(prefix) FROM read_parquet(?) WHERE template_key IS NOT NULL"
    with open_duckdb() as connection:
        paths = map(storage.locate, one.log.table.parts)
        found = [connection.execute(query, [path]).fetchone() for path in paths]
    assert all(texts == prefixes for texts, prefixes in found)
    return [texts for texts, _ in found]


def test_a_part_holds_a_template_once_and_gives_it_to_each_row(
    machine: OpenMachine, row: MakeRow, storage: LocalFolder
) -> None:
    one = machine()
    rows = [long_row(row, number, text=TEXT * (1 + number % 2)) for number in range(20)]
    one.ship(*rows)

    assert count_texts(storage, one) == [2]
    assert rows_of(one) == rows
    light = one.reader.rows("cards", with_messages=False).rows
    assert [each.template_text for each in light] == [each.template_text for each in rows]
    assert {each.messages for each in light} == {b""}


def test_sql_sees_whole_rows_in_parts_and_in_the_outbox(
    machine: OpenMachine, row: MakeRow, storage: LocalFolder
) -> None:
    one = machine()
    rows = [long_row(row, number) for number in range(4)] + [row(request_id="short", at=9.0)]
    one.ship(*rows[:2])
    one.keep(*rows[2:])

    told = query_parts(one.reader, storage, 'SELECT template_text, messages FROM rows ORDER BY "at"').rows
    assert told == [(each.template_text, each.messages.decode()) for each in rows]


def test_merged_parts_hold_it_once_and_parts_of_an_older_stepdown_merge_with_them(
    machine: OpenMachine, row: MakeRow, storage: LocalFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = machine()
    old = row(request_id="old", at=0.0)
    with monkeypatch.context() as older:
        stored = columns.ORIGIN | columns.COLUMNS
        for module in (columns, parquet):
            older.setattr(module, "STORED", stored)
            older.setattr(module, "SCHEMA", 1)
        one.ship(old)
    rows = [long_row(row, number) for number in range(1, FAN_IN)]
    for each in rows:
        one.ship(each)

    assert rows_of(one) == [old, *rows]
    assert Compactor(one.log, "w").compact() == FAN_IN
    assert rows_of(one) == [old, *rows]
    assert count_texts(storage, one) == [1]


def test_when_the_row_that_holds_it_is_forgotten_another_does(
    machine: OpenMachine, row: MakeRow, storage: LocalFolder
) -> None:
    one = machine()
    rows = [long_row(row, number, user="jane" if number < 3 else "joe") for number in range(6)]
    one.ship(*rows)
    removal = PartsRemoval(one.log, "w")

    assert len(removal.forget(Selection(user="jane"))) == 3
    assert rows_of(one) == rows[3:]
    assert count_texts(storage, one) == [1]


def test_the_last_row_takes_it_along(machine: OpenMachine, row: MakeRow, storage: LocalFolder) -> None:
    """Private words may stand in a system message."""
    one = machine()
    secret = "The user is Jane Doe of Elm Street. " * 10
    kept = long_row(row, 2)
    one.ship(long_row(row, 1, text=secret, user="jane"), kept)
    removal = PartsRemoval(one.log, "w")
    removal.forget(Selection(user="jane"))
    removal.wipe()

    assert rows_of(one) == [kept]
    sql = "SELECT count(*) FROM rows WHERE template_text LIKE '%Jane%' OR messages LIKE '%Jane%'"
    assert query_parts(one.reader, storage, sql).rows == [(0,)]
    assert count_texts(storage, one) == [1]
