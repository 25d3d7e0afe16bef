"""The rules for every command."""

from __future__ import annotations

import pytest

from gateway import __version__
from gateway.cli import main
from gateway.config import plugins
from tests.cli.conftest import Command

COMMANDS = plugins.list_plugins("gateway.cli")


def test_every_command_is_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--help"])

    printed = capsys.readouterr().out
    assert end.value.code == 0
    assert all(f"\n    {name} " in printed for name in COMMANDS)
    assert "exit codes" in printed


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([name, "--help"])

    assert end.value.code == 0
    assert f"usage: stepdown {name}" in capsys.readouterr().out


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])

    assert capsys.readouterr().out == f"stepdown {__version__}\n"


@pytest.mark.parametrize("words", [[], ["no-such-command"], ["keys"], ["keys", "no-such-action"]])
def test_a_wrong_word_is_a_usage_error(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(words)

    assert end.value.code == 2
    assert "usage: stepdown" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["keys", "list"],
        ["learn", "status"],
        ["costs", "report"],
        ["harvest", "stats"],
        ["ask", "x"],
        ["serve"],
    ],
    ids=" ".join,
)
def test_a_bad_setting_stops_every_command_without_a_trace(command: Command, words: list[str]) -> None:
    ended = command(*words, STEPDOWN_SERVER_PROT="1")

    assert ended.returncode == 2
    assert ended.stderr.startswith("stepdown: environment: unknown variable STEPDOWN_SERVER_PROT; known: ")
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    "words", [["keys", "list"], ["learn", "status"], ["costs", "report"], ["harvest", "stats"]], ids=" ".join
)
def test_a_new_home_has_nothing_to_show_and_nothing_is_wrong(command: Command, words: list[str]) -> None:
    ended = command(*words)

    assert (ended.returncode, ended.stderr) == (0, "")
