"""The `stepdown` command: one module per command, named like the command.

The first line of a command module's docstring is its help. It has `add_arguments(parser)` and
`run(arguments) -> int`, and imports nothing heavy before `run`: `stepdown --help` is quick.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType

from gateway import __version__
from gateway.config.plugins import list_plugins
from gateway.errors import ConfigError, StepdownError, UpstreamError

OK, FAILED, USAGE, QUALITY, UNREACHABLE = range(5)
"""Exit codes of every command."""
WATCH_S = 2.0
_CLEAR = "\x1b[H\x1b[2J\x1b[3J"
"""Moves to the corner, clears the screen and what scrolled off it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that `argv` names, by default that of this process; return the exit code."""
    words = sys.argv[1:] if argv is None else list(argv)
    known = list_plugins(__name__)
    # Only the named command is imported; the general help needs them all.
    wanted = [words[0]] if words and words[0] in known else known
    arguments = _parser({name: import_module(f"{__name__}.{name}") for name in wanted}).parse_args(words)
    try:
        if (pause_s := getattr(arguments, "watch", None)) is not None:
            return _keep_running(arguments, pause_s)
        return int(arguments.run(arguments))
    except KeyboardInterrupt:
        return FAILED
    except BrokenPipeError:
        # The reader of our output has gone (`| head`): nothing to report.
        sys.stderr.close()
        return FAILED
    except StepdownError as exc:
        print(f"stepdown: {exc}", file=sys.stderr)
        return _exit_code(exc)


def add_watch(parser: argparse.ArgumentParser) -> None:
    """Let a command that only shows something be run again and again."""
    parser.add_argument(
        "--watch",
        nargs="?",
        const=WATCH_S,
        type=_pause,
        metavar="S",
        help=f"show it again every S seconds ({WATCH_S:g}) until Ctrl-C",
    )


def read_number(text: str) -> float:
    """Return a number that stands in an option. Raises ArgumentTypeError, which argparse shows."""
    try:
        return float(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f"'{text}' is no number") from exc


def read_whole(text: str) -> int:
    """Return a whole number. Raises ArgumentTypeError."""
    try:
        return int(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f"'{text}' is no whole number") from exc


def read_count(text: str) -> int:
    """Return how many of something are wanted. Raises ArgumentTypeError for less than one."""
    if (count := read_whole(text)) < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {count}")
    return count


def _pause(text: str) -> float:
    pause_s = read_number(text)
    if not 0.1 <= pause_s <= 3600:
        raise argparse.ArgumentTypeError("must be 0.1 to 3600 seconds")
    return pause_s


def _keep_running(arguments: argparse.Namespace, pause_s: float) -> int:
    """Run a command until Ctrl-C, or until it fails; on a terminal each picture replaces the last."""
    code = OK
    with contextlib.suppress(KeyboardInterrupt):
        while code == OK:
            # Printed as a whole: a screen that fills line by line flickers.
            picture = io.StringIO()
            with contextlib.redirect_stdout(picture):
                code = int(arguments.run(arguments))
            clear = _CLEAR if sys.stdout.isatty() else ""
            print(f"{clear}{picture.getvalue()}", end="", flush=True)
            time.sleep(pause_s if code == OK else 0)
    return code


def _parser(commands: dict[str, ModuleType]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="stepdown",
        description="An OpenAI-API gateway that answers narrow requests with small models you own.",
        epilog="exit codes: 0 ok, 1 failed, 2 usage, 3 quality target broken, 4 unreachable",
    )
    parser.add_argument("--version", action="version", version=f"stepdown {__version__}")
    choices = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, module in commands.items():
        summary = (module.__doc__ or "").partition("\n")[0]
        command = choices.add_parser(name, help=summary, description=module.__doc__)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser


def _exit_code(exc: StepdownError) -> int:
    if isinstance(exc, ConfigError):
        return USAGE
    return UNREACHABLE if isinstance(exc, UpstreamError) else FAILED
