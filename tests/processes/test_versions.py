"""Versions by hand: every action asks the evidence, and leaves its reason."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.core import Constraints
from gateway.errors import ConfigError, RegistryError
from gateway.harvest.outbox import Outbox
from gateway.processes import versions
from gateway.processes.registry_access import list_lost_versions
from gateway.settings import Learn, Settings
from gateway.store.state import State, open_state
from tests.distill.conftest import tickets

TASK = "task-1"


def order(reason: str) -> versions.Order:
    return versions.Order("cli:someone", reason)


def last_entries(state: State, action: str) -> list[tuple[str, dict[str, Any]]]:
    """Return who did `action` to the task, and what the trail says of it, oldest first."""
    found = state.trail.newest(4, subject=TASK, action=action)[::-1]
    return [(each.actor, json.loads(each.facts)) for each in found]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home with 160 tickets, of which some are evidence."""
    folder: Path = tmp_path_factory.mktemp("versions")
    settings = Settings(
        home_folder=str(folder / "home"), learn=Learn(adopt_rows=20, first_rows=60, recipes=("head",))
    )
    settings.home.make()
    box = Outbox(settings.home.worker_rows(0))
    for row in tickets(160):
        box.put(msgspec.structs.replace(row, match="fingerprint"))
    box.close()
    return settings


@pytest.fixture(scope="module")
def state(settings: Settings) -> Iterator[State]:
    with open_state(settings.home) as state:
        for reason in ("the first", "the second"):
            versions.train_now(settings, state, TASK, order(reason))
        yield state


def test_versions_are_made_by_hand_and_the_reason_is_kept(settings: Settings, state: State) -> None:
    (actor, asked), (_, done), (_, again), _ = last_entries(state, "learn run")

    assert (actor, asked, again) == ("cli:someone", {"reason": "the first"}, {"reason": "the second"})
    assert "v1 trained" in done["result"]


def test_a_recipe_may_be_named(settings: Settings, state: State) -> None:
    """`span` needs 500 rows: it is asked alone, although `head` would do."""
    (event,) = versions.train_now(settings, state, TASK, order("a tagger"), "span")
    _, (_, asked), (_, done) = last_entries(state, "learn run")[-3:]

    assert (event.kind, asked) == ("postponed", {"recipe": "span", "reason": "a tagger"})
    assert "span: " in done["result"]
    with pytest.raises(ConfigError, match="spam"):
        versions.train_now(settings, state, TASK, order("a typo"), "spam")


def test_two_versions_are_compared_by_what_they_say(settings: Settings, state: State) -> None:
    """Who is right is not told: a version that was chosen by that could not be tested on it any more."""
    found = versions.compare(settings, state, TASK, (1, 2))

    assert (found.texts > 20, found.agreement, found.differences) == (True, 1.0, [])
    assert (found.first.version, found.second.version, found.first.recipe) == (1, 2, "head")
    assert found.first.draft_ms > 0


def test_a_rollback_goes_one_version_back(settings: Settings, state: State) -> None:
    drafting = versions.find_drafting(state, TASK)
    assert drafting == 2

    versions.rollback(settings, state, TASK, order("answers look odd"))

    assert versions.find_drafting(state, TASK) == 1
    (_, asked), (_, done) = last_entries(state, "models rollback")
    assert (asked, done["version"]) == ({"version": 1, "reason": "answers look odd"}, 1)
    with pytest.raises(ConfigError, match="no version before 1"):
        versions.rollback(settings, state, TASK, order("further"))
    versions.promote(settings, state, TASK, 2, order("it was well"))
    assert versions.find_drafting(state, TASK) == 2


def test_a_version_that_takes_too_much_is_refused_and_the_trail_has_why(
    settings: Settings, state: State
) -> None:
    """Also the one that drafts, whose limit was lowered since; and what a rollback would go back to."""
    limits = Constraints(max_latency_ms=1e-9)
    specialists = msgspec.structs.replace(settings.specialists, limits=limits)
    strict = msgspec.structs.replace(settings, specialists=specialists)

    with pytest.raises(RegistryError, match=r"version 2 takes .*; its policies allow 1e-09 ms"):
        versions.promote(strict, state, TASK, 2, order("is it well?"))
    with pytest.raises(RegistryError, match="version 1 takes"):
        versions.rollback(strict, state, TASK, order("back"))

    assert versions.find_drafting(state, TASK) == 2
    (_, done) = last_entries(state, "models rollback")[-1]
    assert "version 1 takes" in done["result"]


def test_unknown_tasks_and_versions_are_named(settings: Settings, state: State) -> None:
    with pytest.raises(ConfigError, match="no version 9; known: 1, 2"):
        versions.promote(settings, state, TASK, 9, order("why"))
    with pytest.raises(ConfigError, match="no task has the id or name 'nope'"):
        versions.resolve_task(state, settings, "nope")
    name = state.tasks.names.of(TASK)
    assert versions.resolve_task(state, settings, name) == TASK


def test_only_a_version_that_drafts_can_be_pinned(settings: Settings, state: State) -> None:
    versions.pin(settings, state, TASK, order("an audit"), is_pinned=True)
    assert state.pins.is_pinned(TASK)
    versions.pin(settings, state, TASK, order("it is over"), is_pinned=False)
    assert not state.pins.is_pinned(TASK)
    with pytest.raises(ConfigError, match="no specialist yet"):
        versions.pin(settings, state, "another", order("why"), is_pinned=True)


def test_a_version_without_files_is_neither_pinned_nor_in_the_way(settings: Settings, state: State) -> None:
    drafting = versions.find_drafting(state, TASK)
    assert drafting is not None
    folder = settings.home.registry / TASK / str(drafting)
    away = folder.with_name(f".{drafting}")
    folder.rename(away)

    with pytest.raises(ConfigError, match=f"the files of version {drafting} are gone"):
        versions.pin(settings, state, TASK, order("an audit"), is_pinned=True)
    assert list_lost_versions(settings, state) == [(TASK, drafting)]
    versions.rollback(settings, state, TASK, order("its files are gone"))
    assert versions.find_drafting(state, TASK) == drafting - 1
    away.rename(folder)
