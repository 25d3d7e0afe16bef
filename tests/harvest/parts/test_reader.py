"""Rows are read once each while they move: from the outbox, from a part, on every machine."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.harvest.base import Row
from gateway.harvest.outbox import Outbox
from gateway.harvest.parts.manifests import ManifestLog
from gateway.harvest.parts.shipping import Shipper
from gateway.harvest.reader import Count, HarvestReader
from gateway.store.object_storage import LocalFolder
from tests.harvest.parts.conftest import Machine, MakeRow, OpenMachine


def rich(row: MakeRow) -> list[Row]:
    """Return rows that use every field."""
    return [
        row(
            request_id=f"req-{n}", at=n * 7_200.0, text=f"é \x00 {n}", is_held_out=n % 5 == 0,
            demands=b"\x80\xff", tools=b'[{"type":"function"}]' if n % 2 else b"",
            may_call_in_parallel=n % 3 == 0, reply=b'[{"role":"assistant"}]' if n % 4 == 0 else b"",
            draft="d" if n % 2 else "", draft_version=n, draft_score=0.5, is_restricted=n % 7 == 0,
            private_kinds=("email", "iban") if n % 3 else (), expires_at=None if n % 2 else 1e9,
            is_lesson=n % 6 not in (1, 3), policy="p", user="u", tenant="shop", match="embedding",
            form="multi/long", scope="tenant:shop", place="x", prompt_tokens=n,
            ending="none" if n % 6 == 3 and n % 5 else "whole",
        )
        for n in range(40)
    ]  # fmt: skip


def test_a_row_comes_back_whole_from_a_part(machine: OpenMachine, row: MakeRow) -> None:
    """Every field of it, by whatever way it is asked for."""
    one = machine()
    one.keep(*rich(row))
    plain = HarvestReader(one.harvest)
    before = (
        plain.rows("cards").rows, plain.rows("cards", with_messages=False).rows,
        plain.rows("cards", lessons_only=True).rows, plain.counts(), plain.held_out_since("cards", 9.0),
        plain.held_out_rows("cards", 9.0), plain.find("req-7"), plain.rows("cards", newest=3).rows,
        plain.latest(4).rows, plain.local_rows("cards"), plain.find_kept(["req-6", "no", "req-9"]),
    )  # fmt: skip

    local = plain.local_rows("cards")
    assert [(each.request_id, each.draft, each.draft_version) for each in local] == [
        (f"req-{n}", "d", n) for n in (3, 9, 21, 27, 33, 39)
    ]
    assert before[3]["cards"].local == 6
    assert before[-1] == {"req-6", "req-9"}

    one.ship()

    assert HarvestReader(one.harvest).counts() == {}
    moved = one.reader
    assert before == (
        moved.rows("cards").rows, moved.rows("cards", with_messages=False).rows,
        moved.rows("cards", lessons_only=True).rows, moved.counts(), moved.held_out_since("cards", 9.0),
        moved.held_out_rows("cards", 9.0), moved.find("req-7"), moved.rows("cards", newest=3).rows,
        moved.latest(4).rows, moved.local_rows("cards"), moved.find_kept(["req-6", "no", "req-9"]),
    )  # fmt: skip


def test_what_has_moved_is_no_removal(machine: OpenMachine, row: MakeRow) -> None:
    """A learner that keeps rows in memory must not begin anew."""
    one = machine()
    one.ship(row(), row(is_held_out=True))

    assert one.reader.removed() == {}
    assert one.reader.came() == {"cards": Count(training=1, held_out=1)}


def test_a_cursor_meets_each_row_once_wherever_it_is(machine: OpenMachine, row: MakeRow) -> None:
    """Read before it moves, it is not new afterwards; two machines' rows are interleaved."""
    one, other = machine("a"), machine("b")
    cursor, seen = None, []
    for n in range(12):
        (one, other)[n % 2].keep(row(request_id=f"req-{n}", at=float(n)))
        if n % 3 == 0:
            one.ship()
        if n % 4 == 0:
            other.ship()
        batch = one.reader.rows("cards", cursor)
        cursor = batch.cursor
        seen += [each.request_id for each in batch.rows]
    other.ship()
    one.ship()
    seen += [each.request_id for each in one.reader.rows("cards", cursor).rows]

    assert sorted(seen) == sorted(f"req-{n}" for n in range(12))


def test_a_reader_that_knows_no_new_manifest_loses_and_doubles_nothing(
    machine: OpenMachine, row: MakeRow
) -> None:
    """Between a manifest and the deletion, and after both."""
    one = machine()
    one.keep(*(row(request_id=f"req-{n}") for n in range(3)))
    lazy = type(one.reader)(one.harvest, ManifestLog(one.storage), clock=lambda: 0.0)
    assert lazy.counts() == {"cards": Count(training=3)}

    one.ship()

    assert lazy.counts() == {"cards": Count(training=3)}
    assert len(lazy.rows("cards").rows) == 3


def test_rows_are_found_in_both_places_at_once(machine: OpenMachine, row: MakeRow) -> None:
    one = machine()
    one.ship(row(request_id="old", at=1.0))
    one.keep(row(request_id="new", at=2.0))

    assert one.ids() == ["new", "old"]
    assert [each.request_id for each in one.reader.latest(1).rows] == ["new"]
    stats = one.reader.stats()
    assert (stats.oldest_at, stats.newest_at, stats.parts) == (1.0, 2.0, 1)
    assert stats.tasks == {"cards": Count(training=2)}


@pytest.fixture
def clone(machine: OpenMachine, tmp_path: Path, row: MakeRow) -> Iterator[tuple[Machine, Outbox]]:
    """A machine with two rows, one of them moved, and the outbox of a copy of its home."""
    one = machine()
    one.ship(row(request_id="moved"))
    one.keep(row(request_id="waiting"))
    one.outbox.close()
    shutil.copytree(one.harvest, tmp_path / "copy" / "harvest")
    copied = Outbox(tmp_path / "copy" / "harvest" / "worker-0.db")
    yield one, copied
    copied.close()


def test_a_copied_home_goes_on_under_its_own_name(clone: tuple[Machine, Outbox], row: MakeRow) -> None:
    """A restored backup counts on where the original was; so does the original, with other rows."""
    one, copied = clone
    one.outbox = Outbox(one.harvest / "worker-0.db")
    one.ship(row(request_id="original"))
    copied.put(row(request_id="of the copy"))
    copied.flush()

    Shipper(copied.path.parent, ManifestLog(one.storage)).ship_all()

    assert one.ids() == ["moved", "of the copy", "original", "waiting"]


def test_another_storage_than_before_is_read_as_it_is(
    machine: OpenMachine, row: MakeRow, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Who moves to a new bucket goes on; a line says that older rows are not there."""
    one = machine()
    one.ship(row(request_id="old"))
    one.keep(row(request_id="new"))

    moved = type(one.reader)(one.harvest, ManifestLog(LocalFolder(tmp_path / "another")))

    assert [each.request_id for each in moved.rows("cards").rows] == ["new"]
    assert "moved elsewhere before" in caplog.text
