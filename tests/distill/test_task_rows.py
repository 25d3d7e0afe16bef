from __future__ import annotations

import msgspec

from gateway.distill.task_rows import TaskRows
from gateway.harvest.reader import Count
from gateway.harvest.removal import Selection, forget
from tests.distill.conftest import Home, harvested, tickets


def test_each_row_is_taken_in_once(home: Home) -> None:
    task_rows = TaskRows("task-1", 1000, home.stores.templates)
    for start in (0, 40):
        home.harvest(tickets(40, start=start))
        task_rows.read(home.stores.harvest)
        task_rows.read(home.stores.harvest)

    assert len(task_rows.training()) + len(task_rows.evidence()) == 80
    assert not any(row.is_held_out for row in task_rows.training())
    assert all(row.is_held_out for row in task_rows.evidence())


def test_evidence_stays_as_it_was_drawn(home: Home) -> None:
    """The certificate speaks of requests: what is asked more often weighs more."""
    evidence = [harvested("t", "a", at=n, held_out=True) for n in range(3)]
    home.harvest([harvested("t", "a"), *evidence])
    task_rows = TaskRows("task-1", 1000, home.stores.templates)
    task_rows.read(home.stores.harvest)

    assert [(row.text, row.answer, row.at) for row in task_rows.evidence()] == [
        ("t", "a", n) for n in range(3)
    ]


def test_only_rows_since_the_alarm_count_as_grown(home: Home) -> None:
    home.harvest(tickets(100, held_out_share=0.0))
    task_rows = TaskRows("task-1", 1000, home.stores.templates)
    task_rows.read(home.stores.harvest)

    assert task_rows.grown(0.0) == Count(100, 0)
    assert task_rows.grown(70.0) == Count(30, 0)
    assert len(task_rows.training(70.0)) == 30


def test_the_oldest_rows_are_forgotten_but_still_counted(home: Home) -> None:
    """Growth must stay visible, or a full pile would never teach again."""
    home.harvest(tickets(100, held_out_share=0.0))
    task_rows = TaskRows("task-1", 30, home.stores.templates)
    task_rows.read(home.stores.harvest)

    assert [row.at for row in task_rows.training()] == [float(n) for n in range(70, 100)]
    assert task_rows.grown(0.0).training == 100
    assert task_rows.grown(90.0).training == 10


def test_the_newest_row_may_be_of_either_kind(home: Home) -> None:
    task_rows = TaskRows("task-1", 10, home.stores.templates)
    assert task_rows.newest() is None
    home.harvest(tickets(50))
    task_rows.read(home.stores.harvest)
    newest = task_rows.newest()
    assert newest is not None
    assert newest.at == 49.0


def test_what_was_removed_is_forgotten_at_once_and_still_counted(home: Home) -> None:
    """A learner lives for weeks: what somebody asked to forget must not be in the next version."""
    home.harvest(tickets(100, held_out_share=0.0))
    task_rows = TaskRows("task-1", 1000, home.stores.templates)
    task_rows.read(home.stores.harvest)

    forget(home.folder / "harvest", Selection(before=40.0))
    task_rows.read(home.stores.harvest)

    assert [row.at for row in task_rows.training()] == [float(n) for n in range(40, 100)]
    assert task_rows.grown(0.0).training == 100


def test_a_local_answer_waits_for_a_reviewer_and_counts_as_no_growth(home: Home) -> None:
    """Its words come each time from the harvest: what is forgotten there is in no memory here."""
    local = msgspec.structs.replace(
        harvested("served", "", at=7.5), draft="refund", ending="none", is_lesson=False
    )
    rows = tickets(10, held_out_share=0.0)
    home.harvest([*rows, local])
    task_rows = TaskRows("task-1", 1000, home.stores.templates)
    task_rows.read(home.stores.harvest)

    found = task_rows.reviewable(home.stores.harvest)

    assert [row.at for row in found] == [0, 1, 2, 3, 4, 5, 6, 7, 7.5, 8, 9]
    assert found[8] == local, "with its draft"
    assert (len(task_rows.training()), task_rows.grown(0.0)) == (10, Count(10, 0))

    forget(home.folder / "harvest", Selection(request_id=local.request_id))
    task_rows.read(home.stores.harvest)
    assert local not in task_rows.reviewable(home.stores.harvest)
