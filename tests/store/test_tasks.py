"""Adopted tasks: cheap to read, the same for every process."""

from __future__ import annotations

from gateway.routing.base import KnownTasks
from gateway.store.database import Database
from gateway.store.tasks import TaskStore

VECTOR = b"\x00\x00\x80\x3f" * 384


def test_an_adopted_task_is_known_with_its_vector(database: Database) -> None:
    tasks = TaskStore(database, clock=lambda: 9.0)

    tasks.put("cards", "contract", "You sort questions.", VECTOR, "gpt-4o")

    (task,) = tasks.all()
    assert "cards" in tasks
    assert (task.vector, task.contract_hash, task.model, task.adopted_at) == (
        VECTOR,
        "contract",
        "gpt-4o",
        9.0,
    )


def test_a_task_put_again_keeps_the_time_of_its_adoption(database: Database) -> None:
    times = iter([1.0, 2.0])
    tasks = TaskStore(database, clock=lambda: next(times))
    tasks.put("cards", "contract", "old", VECTOR, "gpt-4o")

    tasks.put("cards", "contract", "new", VECTOR, "gpt-4o")

    assert [(task.template_text, task.adopted_at) for task in tasks.all()] == [("new", 1.0)]


def test_a_refresh_shows_what_another_process_adopted(database: Database, other_process: Database) -> None:
    tasks = TaskStore(database)
    TaskStore(other_process).put("cards", "contract", "text", VECTOR, "gpt-4o")

    tasks.refresh()

    assert "cards" in tasks


def test_unrelated_changes_keep_the_same_object(database: Database, other_process: Database) -> None:
    """A classifier may keep its own data made from `all()` as long as that is the same object."""
    tasks = TaskStore(database)
    tasks.put("cards", "contract", "text", VECTOR, "gpt-4o")
    before = tasks.all()
    other_process.create("CREATE TABLE unrelated (n)")

    tasks.refresh()

    assert tasks.all() is before


def test_the_store_satisfies_the_protocol_of_routing(database: Database) -> None:
    known: KnownTasks = TaskStore(database)

    assert list(known.all()) == []
