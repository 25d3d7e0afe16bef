"""The teachers of the settings, and whether each can be used."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Command
from tests.support.teacher import RunningTeacher


@pytest.fixture
def settings(tmp_path: Path, teacher: RunningTeacher) -> Path:
    """Two teachers at one address, of which the second is called with a wrong key and model."""
    file = tmp_path / "stepdown.toml"
    file.write_text(
        f'''
[[teachers]]
name = "first"
base_url = "{teacher.base_url}"
credential = "KEY_A"
models = {{ "small" = "gpt-4o" }}
[[teachers]]
name = "second"
base_url = "{teacher.base_url}"
credential = "KEY_B"
models = {{ "small" = "gpt-9" }}
trainable = "no"
'''
    )
    return file


@pytest.mark.usefixtures("settings")
def test_the_list_shows_what_is_configured_and_no_key(command: Command) -> None:
    listed = command("teachers", "list", KEY_A="sk-secret").stdout

    assert [line.split()[0] for line in listed.splitlines()] == ["first", "second"]
    assert "KEY_B; small -> gpt-9; trainable: no" in listed
    assert "sk-secret" not in listed


def test_without_a_list_there_is_one_teacher(command: Command) -> None:
    (only,) = json.loads(command("teachers", "list", "--json").stdout)

    assert (only["name"], only["credential"]) == ("teacher", "each client's own key")


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize(
    ("names", "keys", "code", "words"),
    [
        (["first"], {"KEY_A": "sk-teacher"}, 0, "1 models"),
        (["second"], {"KEY_B": "sk-teacher"}, 0, "does not list gpt-9"),
        (["second"], {"KEY_B": "sk-wrong"}, 1, "refused the gateway's own key"),
        (["second"], {}, 1, "does not hold its key in KEY_B"),
        (["third"], {}, 2, ""),
    ],
)
def test_a_check_says_what_each_teacher_answers(
    command: Command, names: list[str], keys: dict[str, str], code: int, words: str
) -> None:
    checked = command("teachers", "check", *names, **keys)

    assert checked.returncode == code, checked.stderr
    assert words in checked.stdout


def test_a_teacher_that_cannot_be_reached_is_said_to_be(command: Command) -> None:
    checked = command("teachers", "check", OPENAI_BASE_URL="http://127.0.0.1:9/v1")

    assert checked.returncode == 4
