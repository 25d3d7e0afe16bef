from __future__ import annotations

import json
from pathlib import Path

from tests.cli.conftest import Command


def test_a_new_key_is_printed_alone(command: Command) -> None:
    """So that `export OPENAI_API_KEY=$(stepdown keys create)` works."""
    made = command("keys", "create", "--name", "app")

    assert made.returncode == 0
    assert made.stdout.startswith("sd-")
    assert len(made.stdout.split()) == 1


def test_a_key_is_kept_as_a_hash_only(command: Command, home: Path) -> None:
    plain = command("keys", "create").stdout.strip().encode()

    assert not any(plain in file.read_bytes() for file in home.rglob("*") if file.is_file())


def test_the_list_shows_keys_without_the_keys_themselves(command: Command) -> None:
    made = json.loads(command("keys", "create", "--name", "app", "--trusted", "--json").stdout)

    listed = command("keys", "list").stdout
    (facts,) = json.loads(command("keys", "list", "--json").stdout)

    assert made["id"] in listed
    assert "trusted" in listed
    assert made["key"] not in listed
    assert (facts["id"], facts["name"], facts["is_trusted"]) == (made["id"], "app", True)
    assert "hash" not in facts


def test_a_revoked_key_stays_in_the_list_as_revoked(command: Command) -> None:
    made = json.loads(command("keys", "create", "--json").stdout)

    assert command("keys", "revoke", made["id"]).returncode == 0
    assert f"{made['id']}  revoked" in command("keys", "list").stdout


def test_an_unknown_key_cannot_be_revoked(command: Command) -> None:
    ended = command("keys", "revoke", "key-none")

    assert ended.returncode == 2
    assert ended.stderr == "stepdown: no valid key has the id 'key-none'; see `stepdown keys list`\n"


def test_a_home_that_cannot_be_made_is_named(command: Command, tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    ended = command("keys", "list", STEPDOWN_HOME=str(tmp_path / "file" / "home"))

    assert ended.returncode == 2
    assert ended.stderr.startswith(f"stepdown: home: {tmp_path}/file/home cannot be made: ")
