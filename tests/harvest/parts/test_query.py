"""SQL over parts and outboxes as one table, which reads and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.errors import ConfigError
from gateway.harvest.parts.query import query_parts
from gateway.store.object_storage import Storage
from tests.harvest.parts.conftest import MakeRow, OpenMachine


def test_rows_of_both_places_are_one_table(machine: OpenMachine, row: MakeRow, storage: Storage) -> None:
    one, other = machine("a"), machine("b")
    other.ship(row(request_id="of another", user="jane"))
    one.ship(row(request_id="moved", messages=b'[{"role":"user","content":"hi"}]'))
    one.keep(row(request_id="waiting", private_kinds=("email",)))

    sql = "SELECT request_id, \"user\", messages->>'$[0].content', private_kinds FROM rows ORDER BY 1"
    answer = query_parts(one.reader, storage, sql)

    assert answer.columns[0] == "request_id"
    assert answer.rows == [
        ("moved", "", "hi", []),
        ("of another", "jane", "where is my card?", []),
        ("waiting", "", "where is my card?", ["email"]),
    ]
    assert len(query_parts(one.reader, storage, "FROM rows", limit=2).rows) == 2


@pytest.mark.parametrize(
    "sql",
    [
        "DROP VIEW rows",
        "COPY rows TO '/tmp/out.csv'",
        "SELECT 1; SELECT 2",
        "SET enable_external_access = true",
        "SELECT * FROM read_text('{secret}')",
        "SELECT * FROM read_csv('{secret}')",
        "ATTACH '{secret}'",
        "SELECT nothing FROM rows",
        "INSTALL httpfs",
    ],
)
def test_nothing_but_the_rows_is_read_and_nothing_changed(
    machine: OpenMachine, row: MakeRow, storage: Storage, tmp_path: Path, sql: str
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("not for you")
    one = machine()
    one.ship(row())

    with pytest.raises(ConfigError) as refused:
        query_parts(one.reader, storage, sql.format(secret=secret))

    assert "not for you" not in str(refused.value)
    assert len(storage.list_files("")) == 2


def test_without_rows_it_says_so(machine: OpenMachine, storage: Storage) -> None:
    with pytest.raises(ConfigError, match="no rows yet"):
        query_parts(machine().reader, storage, "SELECT 1")
