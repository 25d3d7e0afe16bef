"""The task that an operator means: by its id, its name, or its owner and name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from gateway.errors import ConfigError
from gateway.store.home import Home
from gateway.store.state import State, open_state
from gateway.store.task_names import is_task_id


def find_task(state: State, wanted: str, others: Iterable[str] = ()) -> str:
    """Return the id of a task that is adopted, certified, or one of `others`.

    Raises ConfigError if there is none, or if several owners have one of that name.
    """
    found = list_named_tasks(state, wanted, others)
    if len(found) == 1:
        return found[0]
    if found:
        named = ", ".join(sorted(_name_fully(state, task) for task in found))
        raise ConfigError(f"several tasks are named '{wanted}': {named}")
    raise ConfigError(f"no task has the id or name '{wanted}'; see `stepdown tasks list`")


def find_recorded_task(state: State, wanted: str, others: Iterable[str] = ()) -> str:
    """Return the same, or any id as it is: records speak of tasks that are not adopted, or are no more."""
    return wanted if is_task_id(wanted) else find_task(state, wanted, others)


def find_recorded_tasks(home: Home, wanted: Iterable[str], others: Iterable[str]) -> frozenset[str]:
    """Return the same of each that is wanted, by the state of `home`."""
    with open_state(home) as state:
        return frozenset(find_recorded_task(state, task, others) for task in wanted)


def name_apart(state: State, tasks: Iterable[str]) -> dict[str, str]:
    """Return the name of each of `tasks`, with its owner where several of them have that name."""
    names = {task: state.tasks.names.of(task) for task in tasks}
    counts = Counter(names.values())
    return {task: name if counts[name] == 1 else _name_fully(state, task) for task, name in names.items()}


def name_subject(state: State, about: str) -> str:
    """Return the subject of the audit trail's entries about `about`: of a task its id, else as it is.

    Raises ConfigError if several tasks have that name.
    """
    return find_task(state, about) if list_named_tasks(state, about, ()) else about


def list_named_tasks(state: State, wanted: str, others: Iterable[str] = ()) -> list[str]:
    """Return the tasks with that id, name, or owner and name: several owners may have one of a name."""
    adopted = (one.task for one in state.tasks.all())
    certified = (one.task for one in state.certifications.all())
    known = dict.fromkeys((*adopted, *certified, *others))
    if wanted in known:
        return [wanted]
    name_of = state.tasks.names.of
    return [task for task in known if wanted in (name_of(task), _name_fully(state, task))]


def _name_fully(state: State, task: str) -> str:
    adopted = state.tasks.get(task)
    return f"{adopted.scope if adopted else ''}/{state.tasks.names.of(task)}"
