from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.sharing.contact import ContactReport, write_contact_report
from gateway.store.home import Home
from tests.cli.conftest import Command


def test_a_new_key_is_printed_alone(command: Command) -> None:
    """So that `export OPENAI_API_KEY=$(stepdown keys create --name app)` works."""
    made = command("keys", "create", "--name", "app")

    assert made.returncode == 0
    assert made.stdout.startswith("sd-")
    assert len(made.stdout.split()) == 1


def test_a_key_is_kept_as_a_hash_only(command: Command, home: Path) -> None:
    plain = command("keys", "create", "--name", "app").stdout.strip().encode()

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
    made = json.loads(command("keys", "create", "--name", "app", "--json").stdout)

    assert command("keys", "revoke", made["id"]).returncode == 0
    assert f"{made['id']}  revoked" in command("keys", "list").stdout


def test_a_key_that_other_machines_cannot_be_told_of_is_said_to_be_valid_there(
    command: Command, home: Path
) -> None:
    """Who revokes a stolen key must know where it still opens the door."""
    command("keys", "create", "--name", "app")
    write_contact_report(Home(home), ContactReport(state="away", why="it does not answer"))

    alone = command("keys", "revoke", "app")
    command("keys", "create", "--name", "app")
    shared = command("keys", "revoke", "app", STEPDOWN_STATE_URL="redis://127.0.0.1:9/0")

    assert (alone.stderr, shared.returncode) == ("", 0)
    assert "other machines refuse it once" in shared.stderr


def test_an_unknown_key_cannot_be_revoked(command: Command) -> None:
    ended = command("keys", "revoke", "key-none")

    assert ended.returncode == 2
    assert ended.stderr == "stepdown: no valid key has the id 'key-none'; see `stepdown keys list`\n"


def test_a_home_that_cannot_be_made_is_named(command: Command, tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    ended = command("keys", "list", STEPDOWN_HOME=str(tmp_path / "file" / "home"))

    assert ended.returncode == 2
    assert ended.stderr.startswith(f"stepdown: home: {tmp_path}/file/home cannot be made: ")


def test_a_key_needs_a_name_of_its_own(command: Command) -> None:
    assert command("keys", "create").returncode == 2
    assert command("keys", "create", "--name", "app").returncode == 0

    again = command("keys", "create", "--name", "app")

    assert again.returncode == 2
    assert "a valid key is named 'app' already" in again.stderr


LIMITED = (
    "keys", "create", "--name", "shop", "--tenant", "web", "--policy", "default",
    "--model", "gpt-4o*,stepdown/*", "--path", "/v1/chat/*", "--path", "/v1/models", "--expires", "90d",
    "--requests-per-minute", "60", "--tokens-per-minute", "100000", "--concurrent-requests", "5",
    "--usd-per-day", "2", "--usd-per-month", "40",
)  # fmt: skip


def test_show_says_what_a_key_may_do_within_80_columns(command: Command) -> None:
    made = command(*LIMITED).stdout.strip()

    shown = command("keys", "show", "shop").stdout

    assert max(map(len, shown.splitlines())) <= 80
    assert made not in shown
    for said in (
        "web",
        "gpt-4o*, stepdown/*",
        "/v1/chat/*, /v1/models",
        "0 of 60",
        "0 of 5",
        "$0.00 of $40.00",
    ):
        assert said in shown


def test_show_as_json_has_the_same_facts(command: Command) -> None:
    command(*LIMITED)

    shown = json.loads(command("keys", "show", "shop", "--json").stdout)

    assert shown["state"] == "valid"
    assert shown["grant"]["models"] == ["gpt-4o*", "stepdown/*"]
    assert shown["limits"]["usd_per_month"] == 40
    assert [use["name"] for use in shown["use"]] == [
        "requests a minute",
        "tokens a minute",
        "requests at a time",
        "$ a day",
        "$ a month",
    ]


def test_a_rotated_key_prints_its_new_secret_alone_and_keeps_its_id(command: Command) -> None:
    made = json.loads(command("keys", "create", "--name", "app", "--json").stdout)

    rotated = command("keys", "rotate", "app", "--overlap", "1h")
    listed = json.loads(command("keys", "list", "--json").stdout)

    assert rotated.stdout.strip().startswith("sd-")
    assert rotated.stdout.strip() != made["key"]
    assert [(key["id"], key["state"]) for key in listed] == [(made["id"], "valid")]
    assert "2: a rotation overlaps" in command("keys", "show", "app").stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--expires", "tomorrow"), "neither a span such as 90d nor a day"),
        (("--expires", "2001-01-01"), "is over already"),
        (("--policy", "none"), "unknown policy 'none'; known: default"),
        (("--usd-per-day", "-1"), "must be 0 to"),
        (("--model", ""), "--model is empty"),
        (("--path", " , "), "--path is empty"),
        (("--expires", ""), "neither a span"),
        (("--path", "/v1/chat/*,v1/models"), "--path v1/models matches no path"),
        (("--requests-per-minute", "many"), "'many' is no whole number"),
    ],
)
def test_a_term_that_makes_no_sense_is_refused(command: Command, words: tuple[str, ...], said: str) -> None:
    ended = command("keys", "create", "--name", "app", *words)

    assert ended.returncode == 2
    assert said in ended.stderr
    assert json.loads(command("keys", "list", "--json").stdout) == []


@pytest.mark.parametrize("action", ["show", "rotate"])
def test_an_unknown_key_is_named(command: Command, action: str) -> None:
    ended = command("keys", action, "nobody")

    assert ended.returncode == 2
    assert "no key has the id or name 'nobody'" in ended.stderr


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ([], "as the policies say"),
        (["--keep-days", "7"], "as the policies say, 7 days at most"),
        (["--no-harvest"], "nothing is kept"),
    ],
    ids=["plain", "days", "nothing"],
)
def test_a_key_says_what_is_kept_of_its_requests(command: Command, options: list[str], shown: str) -> None:
    command("keys", "create", "--name", "app", *options)

    (line,) = [
        line for line in command("keys", "show", "app").stdout.splitlines() if line.startswith("harvest")
    ]

    assert line.split(maxsplit=1)[1] == shown


def test_a_change_leaves_all_other_terms_as_they_are(command: Command) -> None:
    assert command(*LIMITED).returncode == 0
    (before,) = json.loads(command("keys", "list", "--json").stdout)

    changed = command(
        "keys", "change", "shop", "--usd-per-day", "3", "--tokens-per-minute", "none", "--model", "all",
        "--expires", "never", "--trusted", "--no-harvest",
    )  # fmt: skip
    (after,) = json.loads(command("keys", "list", "--json").stdout)

    assert changed.returncode == 0, changed.stderr
    assert "usd_per_day: 2.0 -> 3.0" in changed.stdout
    different = {name for name in after if after[name] != before[name]}
    assert different == {"grant", "limits", "expires_at", "is_trusted"}
    assert after["limits"] == {**before["limits"], "usd_per_day": 3.0, "tokens_per_minute": None}
    assert after["grant"] == {**before["grant"], "models": [], "may_harvest": False}
    assert (after["expires_at"], after["is_trusted"]) == (None, True)


def test_a_change_is_in_the_audit_trail_and_no_change_is_not(command: Command) -> None:
    command("keys", "create", "--name", "app")
    command("keys", "change", "app", "--usd-per-day", "3")

    assert command("keys", "change", "app").stdout == "nothing is different\n"

    listed = command("audit", "list").stdout
    assert listed.count("keys change") == 1
    assert "none -> 3.0" in listed


@pytest.mark.parametrize(
    "terms", [("--policy", "none-such"), ("--path", "v1"), ("--expires", "0s"), ("--model", ",")]
)
def test_a_change_to_what_no_key_can_have_is_refused(command: Command, terms: tuple[str, ...]) -> None:
    command("keys", "create", "--name", "app")

    assert command("keys", "change", "app", *terms).returncode == 2


def test_a_revoked_key_is_not_changed(command: Command) -> None:
    command("keys", "create", "--name", "app")
    command("keys", "revoke", "app")

    assert command("keys", "change", "app", "--usd-per-day", "3").returncode == 2
