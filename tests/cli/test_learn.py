"""What `stepdown learn status` shows of certificates."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import msgspec
import pytest

from gateway.cli import OK, learn
from gateway.processes import learner
from gateway.store.home import Home
from gateway.store.state import open_state
from tests.cli.conftest import Command
from tests.support.builders import NOON, certified

DAY_S = 86_400.0


@pytest.mark.parametrize(("expires_at", "until"), [(1e11, "until 5138-11-16"), (NOON, "lapsed 2023-11-14")])
def test_a_certificate_says_from_when_to_when_it_speaks(
    command: Command, home: Path, expires_at: float, until: str
) -> None:
    certification = certified(
        "task-0123456789ab",
        note="certified on 172 audits",
        evidence_from=NOON - 9 * DAY_S,
        evidence_to=NOON,
        expires_at=expires_at,
    )
    with open_state(Home(home)) as state:
        state.certifications.put(certification)

    lines = command("learn", "status").stdout.splitlines()

    assert f"audits 2023-11-05 to 2023-11-14, {until}" in "\n".join(lines)
    assert max(map(len, lines)) <= 80


def test_a_task_that_has_no_certificate_yet_is_shown_too(command: Command, home: Path) -> None:
    with open_state(Home(home)) as state:
        state.tasks.put(
            "task-1", scope="tenant:shop", contract_hash="", template_text="Sort.", vector=b"", model="gpt-4o"
        )

    assert command("learn", "status").stdout == (
        "sort  task-1  no version yet  tenant:shop\n  Sort.\n"
        "  0 rows to learn from; its first version needs 200\n"
    )
    in_the_making = command("learn", "status", STEPDOWN_LEARN_FIRST_ROWS="1")
    assert "its first version needs 1\n" in in_the_making.stdout
    assert '"scope":"tenant:shop"' in command("learn", "status", "--json").stdout


def test_why_a_task_waits_is_shown_beside_its_certificates(command: Command, home: Path) -> None:
    live = msgspec.structs.replace(certified("task-1"), note="its newest version is damaged")
    with open_state(Home(home)) as state:
        state.certifications.put(live)

    assert "its newest version is damaged" in command("learn", "status").stdout


def test_a_pinned_task_gets_no_version_by_force(command: Command, home: Path) -> None:
    """A pin says that no other version is made; a command that makes one all the same must say so."""
    with open_state(Home(home)) as state:
        state.tasks.put(
            "task-1", scope="all", contract_hash="", template_text="Sort.", vector=b"", model="gpt-4o"
        )
        state.certifications.put(certified("task-1"))
        state.pins.pin("task-1")

    ended = command("learn", "run", "--force", "--task", "sort", "--reason", "newer answers")

    assert (ended.returncode, ended.stdout) == (2, "")
    assert "sort is pinned to version 1: `stepdown models unpin sort --reason WHY`" in ended.stderr


def test_a_recipe_is_named_for_a_version_by_hand_alone(command: Command) -> None:
    ended = command("learn", "run", "--task", "sort", "--recipe", "span")

    assert (ended.returncode, ended.stdout) == (2, "")
    assert "--recipe wants --force" in ended.stderr


def test_learning_by_hand_comes_after_the_gateway(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests must not wait for it, as they do not for the learner beside `serve`."""
    nicer: list[int] = []
    monkeypatch.setattr(os, "nice", nicer.append)
    monkeypatch.setattr(os, "umask", lambda _: 0)
    monkeypatch.setattr(learner, "limit_threads", lambda: None)
    monkeypatch.setenv("STEPDOWN_HOME", str(home))
    parser = argparse.ArgumentParser()
    learn.add_arguments(parser)

    assert learn.run(parser.parse_args(["run"])) == OK
    assert nicer == [learner.NICENESS]
