"""Adopted tasks: cheap to read, the same for every process."""

from __future__ import annotations

from gateway.routing.base import KnownTasks
from gateway.store.database import Database
from gateway.store.tasks import TaskStore

VECTOR = b"\x00\x00\x80\x3f" * 384


def adopt(tasks: TaskStore, template_text: str) -> None:
    tasks.put(
        "cards",
        scope="tenant:shop",
        contract_hash="contract",
        template_text=template_text,
        vector=VECTOR,
        model="gpt-4o",
    )


def test_an_adopted_task_is_known_with_its_vector(database: Database) -> None:
    tasks = TaskStore(database, clock=lambda: 9.0)

    adopt(tasks, "You sort questions.")

    (task,) = tasks.all()
    assert "cards" in tasks
    assert task.scope == "tenant:shop"
    assert (task.vector, task.contract_hash, task.model, task.adopted_at) == (
        VECTOR,
        "contract",
        "gpt-4o",
        9.0,
    )


def test_a_task_put_again_keeps_the_time_of_its_adoption(database: Database) -> None:
    times = iter([1.0, 2.0])
    tasks = TaskStore(database, clock=lambda: next(times))
    adopt(tasks, "old")

    adopt(tasks, "new")

    assert [(task.template_text, task.adopted_at) for task in tasks.all()] == [("new", 1.0)]


def test_a_refresh_shows_what_another_process_adopted(database: Database, other_process: Database) -> None:
    tasks = TaskStore(database)
    adopt(TaskStore(other_process), "text")

    tasks.refresh()

    assert "cards" in tasks


def test_unrelated_changes_keep_the_same_object(database: Database, other_process: Database) -> None:
    """A classifier may keep its own data made from `all()` as long as that is the same object."""
    tasks = TaskStore(database)
    adopt(tasks, "text")
    before = tasks.all()
    other_process.create("CREATE TABLE unrelated (n)")

    tasks.refresh()

    assert tasks.all() is before


def test_the_store_satisfies_the_protocol_of_routing(database: Database) -> None:
    known: KnownTasks = TaskStore(database)

    assert list(known.all()) == []
