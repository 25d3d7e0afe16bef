"""State that is damaged, lost or unreadable: said in one line, or survived, and never guessed."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from gateway.store.home import Home
from tests.faults.conftest import QUIET, ask_often
from tests.support.processes import gateway_process, stepdown
from tests.support.teacher import RunningTeacher
from tests.support.waiting import wait_for

OWN_KEY = {"OPENAI_API_KEY": "sk-provider", **QUIET}


def overwrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"x" * 4096)


DAMAGES: dict[str, Callable[[Home], object]] = {
    "a damaged database": lambda home: overwrite(home.state_db),
    "a lost database": lambda home: home.state_db.unlink(),
    "an empty database": lambda home: home.state_db.write_bytes(b""),
    "an empty audit key": lambda home: home.audit_key.write_bytes(b""),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_start_with_damage_ends_with_one_line(tmp_path: Path, running: RunningTeacher, damage: str) -> None:
    """Before, workers crashed in a loop behind an open port: clients hung."""
    home = Home(tmp_path / "home")
    stepdown(home.folder, "keys", "create", "--name", "app")
    DAMAGES[damage](home)

    ended = stepdown(
        home.folder, "serve", "--port", "0", "--admin-port", "0", OPENAI_BASE_URL=running.base_url, **OWN_KEY
    )

    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 1
    assert str(home.folder) in ended.stderr


def test_an_unreadable_row_does_not_keep_a_revoked_key_alive(tmp_path: Path, running: RunningTeacher) -> None:
    """Before, it ended the refresh for good: the key was still good 15 s later, and nothing was logged."""
    home = tmp_path / "home"
    key = stepdown(home, "keys", "create", "--name", "app").stdout.strip()
    bearer = {"authorization": f"Bearer {key}"}
    with gateway_process(home, OPENAI_BASE_URL=running.base_url, **OWN_KEY) as gateway:
        assert gateway.chat(bearer, model="gpt-4o").status == 200
        # The admin process reads all tables when it starts, and would name the row, too.
        gateway.status()
        with closing(sqlite3.connect(Home(home).state_db)) as database, database:
            database.execute("INSERT INTO certifications VALUES ('cards', 1, '{')")
        wait_for(lambda: "row 'cards' cannot be read" in gateway.log(), "the row is not named")

        [shown] = stepdown(home, "keys", "list").stdout.splitlines()
        assert stepdown(home, "keys", "revoke", shown.split()[0]).returncode == 0

        wait_for(lambda: gateway.chat(bearer, model="gpt-4o").status == 401, "the key is still good")
        assert gateway.log().count("row 'cards' cannot be read") == 1


def test_a_home_with_a_path_of_any_length_has_a_model_host(tmp_path: Path, running: RunningTeacher) -> None:
    """Its socket had been moved to a guessable name in /tmp."""
    home = tmp_path / ("long" * 25) / "home"
    home.parent.mkdir()
    with gateway_process(home, "--open", OPENAI_BASE_URL=running.base_url, **QUIET) as gateway:
        wait_for(lambda: gateway.status()["specialists_ready"], "the model host is not reached")

        assert ask_often(gateway, 2) == [200] * 2
        assert Home(home).host_socket.is_socket()
