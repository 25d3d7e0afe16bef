"""The rules for every command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

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


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["why", "--last", "0"], "argument --last: must be at least 1, not 0"),
        (["audit", "list", "--last", "-4"], "argument --last: must be at least 1, not -4"),
        (["harvest", "tail", "-n", "-3"], "argument -n/--lines: must be at least 1, not -3"),
        (["tasks", "list", "--watch", "x"], "argument --watch: 'x' is no number"),
        (["keys", "change", "k", "--usd-per-day", "abc"], "argument --usd-per-day: 'abc' is no number"),
        (["keys", "create", "--name", "k", "--requests-per-minute", "1.5"], "'1.5' is no whole number"),
    ],
)
def test_nonsense_is_refused_in_words_of_the_reader(command: Command, words: list[str], said: str) -> None:
    """Not with the name of a function, and not as if it had meant everything or nothing."""
    ended = command(*words)

    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.splitlines()[-1].endswith(said)


def test_an_unknown_variable_is_one_short_line_with_those_that_were_meant(command: Command) -> None:
    ended = command("config", "show", STEPDOWN_SERVER_PROT="1")

    assert "known: STEPDOWN_SERVER_PORT, " in ended.stderr
    assert ended.stderr.endswith("and others: `stepdown config reference settings`\n")
    assert len(ended.stderr) < 250


def leaves() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Yield each command that does something, by its words."""
    for name in COMMANDS:
        parser = argparse.ArgumentParser()
        import_module(f"gateway.cli.{name}").add_arguments(parser)
        yield from _leaves_below(name, parser)


def _leaves_below(
    words: str, parser: argparse.ArgumentParser
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not below:
        yield words, parser
    for action in below:
        for name, child in action.choices.items():
            yield from _leaves_below(f"{words} {name}", child)


# They run for long, or print a file.
WITHOUT_A_RESULT = {"serve", "demo", "config reference", "config schema"}


def test_every_command_with_a_result_prints_json_in_a_documented_shape() -> None:
    guide = (Path(__file__).parents[2] / "gateway/cli/README.md").read_text(encoding="utf-8")
    shapes = guide[guide.index("| command | prints |") :]

    for words, parser in leaves():
        if words not in WITHOUT_A_RESULT:
            assert "--json" in parser.format_help(), words
            assert f"`{words}`" in shapes, words


def test_a_watched_command_is_run_again_until_it_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    codes = iter([0, 0, 1])

    def run(_: argparse.Namespace) -> int:
        code = next(codes)
        sys.stdout.write(f"code {code}\n")
        return code

    monkeypatch.setattr("gateway.cli.audit.run", run)

    assert main(["audit", "list", "--watch", "0.1"]) == 1
    assert capsys.readouterr().out == "code 0\ncode 0\ncode 1\n"


@pytest.mark.parametrize("pause", ["0", "-1", "nan", "x"])
def test_a_pause_that_is_none_is_a_usage_error(pause: str) -> None:
    with pytest.raises(SystemExit) as end:
        main(["audit", "list", f"--watch={pause}"])

    assert end.value.code == 2
