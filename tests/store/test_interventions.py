"""Freezes and acknowledged alarms: the same for every process, and after a restart."""

from __future__ import annotations

from gateway.store.database import Database
from gateway.store.interventions import ALL_TASKS, Freeze, Interventions


def test_a_frozen_task_is_frozen_in_other_processes_too(database: Database, other_process: Database) -> None:
    ours, theirs = Interventions(database, clock=lambda: 9.0), Interventions(other_process)
    ours.freeze("a", "answers look odd")

    theirs.refresh()

    assert (theirs.is_frozen("a"), theirs.is_frozen("b")) == (True, False)
    assert theirs.find_freeze("a") == Freeze("a", 9.0, "answers look odd")


def test_a_freeze_of_all_is_one_of_tasks_to_come(database: Database) -> None:
    interventions = Interventions(database)

    interventions.freeze(ALL_TASKS)

    assert interventions.is_frozen("not adopted yet")


def test_to_unfreeze_all_leaves_what_was_frozen_by_itself(database: Database) -> None:
    interventions = Interventions(database)
    interventions.freeze("a")
    interventions.freeze(ALL_TASKS)

    assert interventions.unfreeze(ALL_TASKS)

    assert (interventions.is_frozen("a"), interventions.is_frozen("b")) == (True, False)
    assert not interventions.unfreeze("b"), "it was not frozen"


def test_a_task_frozen_twice_keeps_the_time_and_note_of_the_first(database: Database) -> None:
    times = iter([1.0, 2.0])
    interventions = Interventions(database, clock=lambda: next(times))

    interventions.freeze("a", "first")
    interventions.freeze("a", "second")

    assert interventions.list_freezes() == [Freeze("a", 1.0, "first")]


def test_a_new_alarm_needs_an_acknowledgement_of_its_own(database: Database, other_process: Database) -> None:
    Interventions(database).acknowledge_alarm("a", 1, "known: new product names")

    again = Interventions(other_process)

    seen = again.find_seen_alarm("a", 1)
    assert seen is not None
    assert seen.note == "known: new product names"
    assert again.find_seen_alarm("a", 2) is None
