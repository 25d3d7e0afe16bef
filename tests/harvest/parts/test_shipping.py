"""Rows leave an outbox when a manifest names them; several machines share one storage."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from threading import Thread

import pytest

from gateway.errors import ConfigError
from gateway.harvest.outbox import Outbox
from gateway.harvest.parts import columns, parquet
from gateway.harvest.parts.compaction import FAN_IN, REPLACED_FOR_S, Compactor
from gateway.harvest.parts.manifests import WHOLE_EVERY, ManifestLog
from gateway.harvest.parts.parquet import read_rows
from gateway.store.object_storage import LocalFolder, Storage
from tests.harvest.parts.conftest import Machine, MakeRow, OpenMachine


def in_parts(storage: Storage) -> Counter[str]:
    table = ManifestLog(storage).refresh()
    return Counter(one.row.request_id for one in read_rows(table.select(), storage))


def test_rows_lie_by_day_and_task(machine: OpenMachine, row: MakeRow, storage: Storage) -> None:
    """In the form that Hive, Spark and DuckDB know; a name is no path."""
    machine().ship(row(at=0.0), row(at=90_000.0), row(at=90_000.0, task="../b=?*"))

    folders = sorted(path.rpartition("/")[0] for path in storage.list_files("parts"))
    assert folders == [
        "parts/day=1970-01-01/task=cards",
        "parts/day=1970-01-02/task=..%2Fb%3D%3F%2A",
        "parts/day=1970-01-02/task=cards",
    ]


def test_machines_ship_at_once_and_no_row_is_lost_or_doubled(
    machine: OpenMachine, row: MakeRow, storage: Storage
) -> None:
    """Each manifest number is wanted by all of them, and some merge what others write."""
    machines = [machine(name) for name in "abc"]

    def work(one: Machine, name: str) -> None:
        for n in range(12):
            one.ship(row(request_id=f"{name}-{n}", at=float(n)))
            Compactor(one.log, name, clock=lambda: 1e10).compact()

    threads = [Thread(target=work, args=(one, name)) for one, name in zip(machines, "abc", strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    expected = Counter(f"{name}-{n}" for name in "abc" for n in range(12))
    assert in_parts(storage) == expected
    assert all(one.ids() == sorted(expected) for one in machines)


def test_small_parts_become_one_and_old_files_go(
    machine: OpenMachine, row: MakeRow, storage: Storage
) -> None:
    one = machine()
    for n in range(FAN_IN):
        one.ship(row(request_id=f"req-{n}", at=float(n)))
    cursor = one.reader.rows("cards").cursor
    now = 0.0
    compactor = Compactor(one.log, "w", clock=lambda: now)

    assert compactor.compact() == FAN_IN
    assert one.ids() == [f"req-{n}" for n in range(FAN_IN)]
    assert one.reader.rows("cards", cursor).rows == [], "what was merged is not new"
    now = REPLACED_FOR_S + 1
    compactor.compact()
    assert len(storage.list_files("parts")) == 1


def test_what_nothing_names_is_deleted_unless_it_is_just_being_written(
    machine: OpenMachine, row: MakeRow, storage: LocalFolder
) -> None:
    one = machine()
    one.ship(row())
    for name in ("mine-1", "other-1"):
        storage.create(f"parts/day=1970-01-01/task=cards/{name}.parquet", b"what a killed process left")

    assert Compactor(one.log, "mine").delete_litter() == 1
    assert Compactor(one.log, "mine", clock=lambda: 1e11).delete_litter() == 1
    assert one.ids() == ["req-1"]


def test_manifests_are_summed_up_and_old_ones_go(
    machine: OpenMachine, row: MakeRow, storage: Storage
) -> None:
    """A new reader reads few; one that slept for long begins at the newest sum."""
    one, sleeper = machine(), ManifestLog(storage)
    sleeper.refresh()
    one.ship(row(request_id="first"))
    for _ in range(2 * WHOLE_EVERY):
        one.log.commit(lambda _: one.log.create_manifest("nothing"))

    assert ManifestLog(storage, clock=lambda: 1e11).delete_old() == 0, "it has read no table"
    late = ManifestLog(storage, clock=lambda: 1e11)
    late.refresh()
    assert late.delete_old() == WHOLE_EVERY
    assert ManifestLog(storage).refresh() == one.log.table
    sleeper._listed_at = float("-inf")
    assert sleeper.refresh() == one.log.table


def test_a_row_that_cannot_be_read_stays_and_holds_up_no_other(
    machine: OpenMachine, row: MakeRow, storage: Storage
) -> None:
    one = machine()
    one.keep(*(row(request_id=f"req-{n}") for n in range(3)))
    with closing(sqlite3.connect(one.outbox.path)) as connection, connection:
        connection.execute("UPDATE rows SET ending = 'odd' WHERE id = 2")

    one.ship()
    one.ship(row(request_id="req-3"))

    assert in_parts(storage) == Counter(["req-0", "req-2", "req-3"])
    with closing(sqlite3.connect(one.outbox.path)) as connection:
        assert connection.execute("SELECT id FROM rows").fetchall() == [(2,)]


def test_a_storage_that_overwrites_is_refused(
    machine: OpenMachine, row: MakeRow, storage: LocalFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two machines would take one number there, and the rows of one would be lost."""
    monkeypatch.setattr(LocalFolder, "create", lambda *_: True)

    with pytest.raises(ConfigError, match="conditional writes"):
        machine().ship(row())


def test_an_older_part_is_read_with_what_stands_for_new_columns(
    machine: OpenMachine, row: MakeRow, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part is never rewritten for a new schema: reading and merging fill in what it lacks."""
    one = machine()
    with monkeypatch.context() as older:
        kinds = {name: kind for name, kind in columns.STORED.items() if name != "is_restricted"}
        older.setattr(columns, "STORED", kinds)
        older.setattr(parquet, "STORED", kinds)
        for n in range(FAN_IN):
            one.ship(row(request_id=f"old-{n}"))
    newer = columns.SCHEMA + 1
    monkeypatch.setattr(columns, "SCHEMA", newer)
    monkeypatch.setattr(parquet, "SCHEMA", newer)
    monkeypatch.setitem(columns.ADDED, "is_restricted", (newer, "false"))
    one.ship(row(request_id="new", is_restricted=True))

    told = {each.request_id: each.is_restricted for each in one.reader.rows("cards").rows}
    assert told == {f"old-{n}": False for n in range(FAN_IN)} | {"new": True}
    assert Compactor(one.log, "w").compact() == FAN_IN + 1
    assert {part.schema for part in one.log.table.parts.values()} == {newer}
    assert {each.request_id: each.is_restricted for each in one.reader.rows("cards").rows} == told


def test_a_newer_part_is_refused(machine: OpenMachine, row: MakeRow, monkeypatch: pytest.MonkeyPatch) -> None:
    one = machine()
    with monkeypatch.context() as newer:
        newer.setattr(parquet, "SCHEMA", 99)
        one.ship(row())

    with pytest.raises(ConfigError, match="newer stepdown: upgrade"):
        one.reader.rows("cards")


def test_an_outbox_that_has_no_name_yet_is_read(machine: OpenMachine, row: MakeRow) -> None:
    """Its tables come first, then its name: a learner that looks in between must not fail."""
    one = machine()
    one.keep(row())
    one.outbox.close()
    with closing(sqlite3.connect(one.outbox.path)) as connection, connection:
        connection.execute("DELETE FROM origins")

    assert one.ids() == ["req-1"]


def test_an_outbox_of_an_older_stepdown_moves_too(machine: OpenMachine, row: MakeRow) -> None:
    """Its rows get the name that its file gets when it is opened."""
    one = machine()
    one.keep(row(request_id="old"))
    one.outbox.close()
    with closing(sqlite3.connect(one.outbox.path)) as connection, connection:
        for table in ("origins", "shipped", "set_aside"):
            connection.execute(f"DROP TABLE {table}")
    cursor = one.reader.rows("cards").cursor
    one.outbox = Outbox(one.outbox.path)

    one.ship(row(request_id="new"))

    assert one.ids() == ["new", "old"]
    assert [each.request_id for each in one.reader.rows("cards", cursor).rows] == ["new"]
