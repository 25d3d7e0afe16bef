"""Who changed what: every command that changes something says so in the audit trail."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

from gateway.store.home import Home
from gateway.store.state import open_state
from tests.cli.conftest import Command

TASK = "task-0123456789ab"
NAME = "sort-tickets"


def adopt(home: Path) -> None:
    with open_state(Home(home)) as state:
        state.tasks.put(
            TASK, scope="all", contract_hash="", template_text="sort tickets", vector=b"", model="gpt-4o"
        )


def test_every_change_has_an_entry_and_a_broken_chain_is_found(command: Command, home: Path) -> None:
    adopt(home)
    for words in (
        "keys create --name app", "keys rotate app", "keys revoke app", "admin tokens create --name ops",
        "admin tokens revoke ops", f"tasks freeze {NAME}", f"tasks unfreeze {NAME}",
        f"tasks rename {NAME} tickets", "harvest prune", "harvest forget --user alice",
        "objects claim file-1 --tenant shop", "harvest export", "learn run",
    ):  # fmt: skip
        assert command(*words.split()).returncode == 0, words

    entries = json.loads(command("audit", "list", "--json").stdout)

    assert [entry["action"] for entry in entries] == [
        "keys create", "keys rotate", "keys revoke", "admin tokens create", "admin tokens revoke",
        "tasks freeze", "tasks unfreeze", "tasks rename", "harvest prune", "harvest forget", "objects claim",
        "harvest export", "learn run",
    ]  # fmt: skip
    assert {entry["actor"].partition(":")[0] for entry in entries} == {"cli"}
    assert "alice" not in json.dumps(entries), "who asked to be forgotten is"
    verdict = json.loads(command("audit", "verify", "--json").stdout)
    assert (verdict["entries"], verdict["fault"]) == (13, "")

    with sqlite3.connect(home / "state.db") as database:
        database.execute("UPDATE audit_trail SET actor = 'cli:nobody' WHERE number = 6")
    database.close()
    ended = command("audit", "verify")
    assert ended.returncode == 1
    assert "BROKEN after 5 whole entries: entry 6 is not what was written" in ended.stdout


def test_a_frozen_task_says_who_froze_it(command: Command, home: Path) -> None:
    adopt(home)
    command("tasks", "freeze", NAME, "--note", "odd answers")

    shown = " ".join(command("tasks", "show", NAME).stdout.split())
    [entry] = json.loads(command("audit", "list", "--about", TASK, "--json").stdout)

    assert f"by {entry['actor']}: odd answers" in shown
    assert max(map(len, command("audit", "list").stdout.splitlines())) <= 80


def test_a_token_is_listed_without_its_secret(command: Command) -> None:
    made = json.loads(command("admin", "tokens", "create", "--name", "grafana", "--json").stdout)
    listed = command("admin", "tokens", "list").stdout

    assert made["token"].startswith("sda-")
    assert made["token"] not in listed
    assert listed.split()[:2] == [made["id"], "valid"]
    assert command("admin", "tokens", "revoke", "nobody").returncode == 2


def test_machines_share_a_token_by_its_file_and_a_new_file_replaces_it(
    command: Command, home: Path, tmp_path: Path
) -> None:
    """So an init container may say it at every start: it changes something only when the file did."""
    file = tmp_path / "token"
    words = ("admin", "tokens", "create", "--name", "prometheus", "--token-file", str(file))
    assert command(*words).returncode == 2, "no such file"
    ids = []
    for secret in ("sda-" + "1" * 48, "sda-" + "1" * 48, "sda-" + "2" * 48):
        file.write_text(f"{secret}\n")
        ended = command(*words)
        assert secret not in ended.stdout
        ids.append(ended.stdout)
        with open_state(Home(home)) as state:
            assert state.admin_tokens.find_secret(secret)

    assert ids[0] == ids[1] != ids[2]
    listed = json.loads(command("admin", "tokens", "list", "--json").stdout)
    assert [one["state"] for one in listed] == ["revoked", "valid"]
    actions = [entry["action"] for entry in json.loads(command("audit", "list", "--json").stdout)]
    assert actions == ["admin tokens create", "admin tokens revoke", "admin tokens create"]
