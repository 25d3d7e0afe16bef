"""What operators change about tasks: each change is kept together with its entry in the audit trail."""

from __future__ import annotations

from gateway.store.interventions import ALL_TASKS
from gateway.store.state import State

EVERY_TASK = "all tasks"
"""The subject of an entry about ALL_TASKS."""


def freeze_task(state: State, actor: str, task: str, note: str) -> bool:
    """Have the teacher answer a task, or ALL_TASKS; return whether it was not frozen before."""
    with state.trail.transaction():
        is_changed = state.interventions.freeze(task, note)
        if is_changed:
            state.trail.add(actor, "tasks freeze", _name_subject(task), note=note)
    return is_changed


def unfreeze_task(state: State, actor: str, task: str) -> bool:
    """End the freeze of a task, or that of ALL_TASKS; return whether there was one."""
    with state.trail.transaction():
        is_changed = state.interventions.unfreeze(task)
        if is_changed:
            state.trail.add(actor, "tasks unfreeze", _name_subject(task))
    return is_changed


def rename_task(state: State, actor: str, task: str, name: str) -> None:
    """Give a task another name. Raises ConfigError for one that it cannot have."""
    with state.trail.transaction():
        before = state.tasks.names.of(task)
        state.tasks.names.rename(task, name)
        state.trail.add(actor, "tasks rename", task, name=name, before=before)


def acknowledge_alarm(state: State, actor: str, task: str, alarm: int, note: str) -> None:
    """Note that an operator has seen the alarms of a task up to number `alarm`."""
    with state.trail.transaction():
        state.interventions.acknowledge_alarm(task, alarm, note)
        state.trail.add(actor, "tasks ack", task, alarm=alarm, note=note)


def find_freezer(state: State, task: str) -> str:
    """Return who froze a task, or ALL_TASKS; empty if the trail does not say."""
    entries = state.trail.newest(1, subject=_name_subject(task), action="tasks freeze")
    return entries[0].actor if entries else ""


def _name_subject(task: str) -> str:
    return EVERY_TASK if task == ALL_TASKS else task
