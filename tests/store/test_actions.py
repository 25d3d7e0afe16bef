"""What was done by hand is told with its reason, to every process."""

from __future__ import annotations

from gateway.store.actions import Action, ActionKind, ActionLog
from gateway.store.database import Database


def action(kind: ActionKind, task: str = "task") -> Action:
    return Action(kind=kind, task=task, version=3, reason="why", result="done")


def test_actions_are_listed_in_order(database: Database, other_process: Database) -> None:
    log = ActionLog(database, clock=lambda: 5.0)
    log.note(action("promote"))
    log.note(action("rollback", "other"))

    others = ActionLog(other_process)

    assert [(each.kind, each.task, each.at) for each in others.list()] == [
        ("promote", "task", 5.0),
        ("rollback", "other", 5.0),
    ]
    assert [each.kind for each in others.list("task")] == ["promote"]


def test_a_pin_holds_until_it_is_taken_out(database: Database, other_process: Database) -> None:
    log, others = ActionLog(database), ActionLog(other_process)

    log.note(action("pin"))
    assert (others.is_pinned("task"), others.is_pinned("other")) == (True, False)

    log.note(action("unpin"))
    assert not others.is_pinned("task")
