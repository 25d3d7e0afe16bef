"""Names of tasks: readable, unique per owner, and kept."""

from __future__ import annotations

import pytest

from gateway.errors import ConfigError
from gateway.store.database import Database
from gateway.store.task_names import LONGEST_NAME, suggest_name
from gateway.store.tasks import TaskStore

TEMPLATE = "You are a helpful assistant. Classify the customer's support ticket by queue and urgency."


def adopt(tasks: TaskStore, task: str, scope: str = "tenant:shop", template: str = TEMPLATE) -> None:
    tasks.put(task, scope=scope, contract_hash="", template_text=template, vector=b"", model="gpt-4o")


@pytest.mark.parametrize(
    ("template", "name"),
    [
        (TEMPLATE, "classify-customer-support-ticket"),
        ("Répondez à la requête du client", "repondez-la-requete-du"),
        ("将用户的问题分类", "gpt-4o-task"),
        ("", "gpt-4o-task"),
        ("Supercalifragilisticexpialidocious-words intent", "intent"),
    ],
)
def test_a_name_is_made_of_whole_words_of_the_template(template: str, name: str) -> None:
    """A name that ends in a part of a word would be worse than a shorter one."""
    assert suggest_name(template, "gpt-4o") == name


def test_tasks_of_one_owner_have_different_names(database: Database) -> None:
    tasks = TaskStore(database)
    for task, scope in (("a", "tenant:shop"), ("b", "tenant:shop"), ("c", "tenant:other")):
        adopt(tasks, task, scope)

    names = [tasks.names.of(task) for task in "abc"]

    assert names == [
        suggest_name(TEMPLATE, ""),
        suggest_name(TEMPLATE, "") + "-2",
        suggest_name(TEMPLATE, ""),
    ]


def test_a_name_outlives_another_template_a_rename_and_a_restart(
    database: Database, other_process: Database
) -> None:
    tasks = TaskStore(database)
    adopt(tasks, "a")
    adopt(tasks, "a", template="Quite another wording")
    assert tasks.names.of("a") == suggest_name(TEMPLATE, "")

    tasks.names.rename("a", "intents")

    again = TaskStore(other_process)
    assert again.names.of("a") == "intents"
    found = again.find_named("tenant:shop", "intents")
    assert found is not None
    assert found.task == "a"
    assert again.find_named("tenant:shop", suggest_name(TEMPLATE, "")) is None, "the old name is free again"
    assert again.find_named("tenant:other", "intents") is None


def test_the_id_works_as_a_name_of_its_owner(database: Database) -> None:
    tasks = TaskStore(database)
    adopt(tasks, "a")

    assert tasks.find_named("tenant:shop", "a") == tasks.get("a")
    assert tasks.find_named("tenant:other", "a") is None


@pytest.mark.parametrize(
    "name", ["", "Intents", "a b", "-a", "x" * (LONGEST_NAME + 1), "task-0123456789ab", "a/b"]
)
def test_a_name_that_could_be_no_models_is_refused(database: Database, name: str) -> None:
    tasks = TaskStore(database)
    adopt(tasks, "a")

    with pytest.raises(ConfigError, match="no name for a task"):
        tasks.names.rename("a", name)


def test_a_name_that_another_task_of_the_owner_has_is_refused(database: Database) -> None:
    tasks = TaskStore(database)
    adopt(tasks, "a")
    adopt(tasks, "b")
    tasks.names.rename("a", "intents")

    with pytest.raises(ConfigError, match="another task of the same owner is named 'intents'"):
        tasks.names.rename("b", "intents")


def test_tasks_that_an_older_stepdown_adopted_are_named(database: Database, other_process: Database) -> None:
    adopt(TaskStore(database), "a")
    with database.write() as connection:
        connection.execute("DELETE FROM task_names")

    assert TaskStore(other_process).names.of("a") == suggest_name(TEMPLATE, "")
