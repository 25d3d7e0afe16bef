"""What is removed is in no part any more: by age, by size, and because somebody asks to be forgotten."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from gateway.distill.task_rows import TaskRows
from gateway.harvest.base import REPEATS
from gateway.harvest.parts.compaction import FAN_IN, Compactor
from gateway.harvest.parts.manifests import ManifestLog
from gateway.harvest.parts.removal import PartsRemoval
from gateway.harvest.reader import Count
from gateway.harvest.removal import Selection
from gateway.harvest.retention import DAY_S, Retention
from gateway.store.home import Home
from gateway.store.object_storage import LocalFolder
from gateway.store.state import open_state
from tests.harvest.parts.conftest import Machine, MakeRow, OpenMachine

NOW = 100 * DAY_S


def traces(storage: LocalFolder, word: str) -> list[str]:
    """Return the files that hold `word`, decoded or raw."""
    import duckdb

    found = []
    for path in storage.list_files(""):
        is_parquet = path.endswith(".parquet")
        rows = duckdb.read_parquet(storage.locate(path)).fetchall() if is_parquet else ()
        if word in str(rows) or word.encode() in storage.read(path):
            found.append(path)
    return found


def test_what_is_forgotten_is_in_no_file(machine: OpenMachine, row: MakeRow, storage: LocalFolder) -> None:
    """Not in a part that another machine wrote, nor in one that was merged away, nor in a manifest."""
    one, other = machine("a"), machine("b")
    for n in range(FAN_IN):
        name = "jane" if n == 3 else "joe"
        other.ship(row(request_id=f"b-{n}", user=name, text=f"{name}-text {n}"))
    one.ship(row(request_id="a", user="jane", text="jane-text", at=90_000.0), row(request_id="c", text="x"))
    assert Compactor(other.log, "b").compact() == FAN_IN + 1
    removal = PartsRemoval(one.log, "a")
    assert len(traces(storage, "jane-text 3")) == 2, "the part that was merged is still there"

    gone = removal.forget(Selection(user="jane"))
    removal.wipe()

    assert sorted(each.request_id for each in gone) == ["a", "b-3"]
    assert traces(storage, "jane") == []
    assert one.ids() == other.ids() == sorted([*(f"b-{n}" for n in range(FAN_IN) if n != 3), "c"])
    assert one.reader.removed() == {"cards": Count(training=2)}


def test_to_forget_a_task_leaves_the_others(machine: OpenMachine, row: MakeRow) -> None:
    one = machine()
    one.ship(row(request_id="a"), row(request_id="b", task="loans"))

    assert len(PartsRemoval(one.log, "w").forget(Selection(task="cards"))) == 1
    assert PartsRemoval(one.log, "w").count_rows() == {"loans": Count(training=1)}
    assert one.ids() == ["b"]


def test_who_forgets_a_request_forgets_what_repeats_it(machine: OpenMachine, row: MakeRow) -> None:
    """And no other whose id begins alike."""
    one = machine()
    one.ship(*(row(request_id=name) for name in ("é", f"é{REPEATS}1", f"é{REPEATS}2", "éb", "%")))

    gone = PartsRemoval(one.log, "w").forget(Selection(request_id="é"))

    assert len(gone) == 3
    assert PartsRemoval(one.log, "w").forget(Selection(request_id="_")) == []
    assert sorted(one.ids()) == ["%", "éb"]


@pytest.mark.parametrize(
    ("retention", "kept"),
    [
        (Retention(), ["old", "young"]),
        (Retention(keep_days=10), ["young"]),
        (Retention(keep_days=90, by_policy={"short": 10}), ["young"]),
        (Retention(keep_days=90, by_policy={"other": 10}), ["old", "young"]),
        (Retention(keep_days=1), []),
    ],
    ids=["no limit", "settings", "its policy", "another policy", "all"],
)
def test_rows_go_by_the_strictest_rule(
    machine: OpenMachine, row: MakeRow, retention: Retention, kept: list[str]
) -> None:
    one = machine()
    one.ship(
        row(request_id="old", at=NOW - 20 * DAY_S, policy="short"),
        row(request_id="young", at=NOW - 5 * DAY_S, policy="short"),
    )

    assert PartsRemoval(one.log, "w").prune(retention, NOW) == 2 - len(kept)
    assert one.ids() == kept
    assert one.reader.came() == {"cards": Count(training=2)}


def test_a_row_goes_when_its_time_is_over_and_its_part_stays(machine: OpenMachine, row: MakeRow) -> None:
    one = machine()
    one.ship(row(request_id="short", at=1.0, expires_at=5.0), row(request_id="long", at=2.0))

    assert PartsRemoval(one.log, "w").prune(Retention(), 4.0) == 0
    assert PartsRemoval(one.log, "w").prune(Retention(), 5.0) == 1
    assert one.ids() == ["long"]
    assert PartsRemoval(one.log, "w").prune(Retention(), 6.0) == 0


def test_above_the_limit_of_size_the_oldest_parts_go(machine: OpenMachine, row: MakeRow) -> None:
    one = machine()
    for n in range(3):
        words = random.Random(n).randbytes(500_000).hex()
        one.ship(row(request_id=f"req-{n}", at=n * DAY_S, text=words))

    assert PartsRemoval(one.log, "w").prune(Retention(max_mb=1), NOW) > 0
    assert one.ids()[-1:] == ["req-2"]


def test_rows_that_are_shipped_meanwhile_are_forgotten_too(machine: OpenMachine, row: MakeRow) -> None:
    """Another machine ships between the look and the removal."""
    one, other = machine("a"), machine("b")
    one.ship(row(request_id="a", user="jane"))
    removal = _ShippingMeanwhile(one, other, row(request_id="b", user="jane"))

    assert sorted(each.request_id for each in removal.forget(Selection(user="jane"))) == ["a", "b"]
    assert one.ids() == []


class _ShippingMeanwhile(PartsRemoval):
    def __init__(self, one: Machine, other: Machine, *rows: object) -> None:
        super().__init__(one.log, "a")
        self._other, self._rows = other, rows

    def _remove(self, *given: object) -> int:
        rows, self._rows = self._rows, ()
        self._other.ship(*rows)  # type: ignore[arg-type]
        return super()._remove(*given)  # type: ignore[arg-type]


def test_a_learner_holds_no_row_that_was_forgotten_a_moment_ago(
    machine: OpenMachine, row: MakeRow, tmp_path: Path
) -> None:
    """Its reader looks for manifests every few seconds, and a version that is gone is made anew at once."""
    one = machine("a")
    one.ship(row(request_id="a", user="jane"))
    reader = type(one.reader)(one.harvest, ManifestLog(one.storage), clock=lambda: 0.0)
    with open_state(Home(tmp_path / "home")) as state:
        rows = TaskRows("cards", 100, state.templates)
        rows.read(reader)
        assert rows.newest() is not None

        PartsRemoval(one.log, "a").forget(Selection(user="jane"))
        rows.read(reader)

        assert rows.newest() is None
