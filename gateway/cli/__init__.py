"""The `stepdown` command: one module a command, the file name is the command's name.

A command module has a docstring whose first line is its help, `add_arguments(parser)` and
`run(arguments) -> int`. It imports nothing heavy before `run`: `stepdown --help` is quick.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType

from gateway import __version__
from gateway.errors import ConfigError, StepdownError, UpstreamError

OK, FAILED, USAGE, QUALITY, UNREACHABLE = range(5)
"""Exit codes of every command."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    words = sys.argv[1:] if argv is None else list(argv)
    known = _commands()
    # Only the command which was named is imported; the general help needs them all.
    wanted = [words[0]] if words and words[0] in known else known
    arguments = _parser({name: import_module(f"{__name__}.{name}") for name in wanted}).parse_args(words)
    try:
        return int(arguments.run(arguments))
    except KeyboardInterrupt:
        return FAILED
    except BrokenPipeError:
        # Whoever read our output has gone (`| head`): nothing to report.
        sys.stderr.close()
        return FAILED
    except StepdownError as error:
        print(f"stepdown: {error}", file=sys.stderr)
        return _exit_code(error)


def _commands() -> list[str]:
    folder = Path(__file__).parent
    return sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_"))


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


def _exit_code(error: StepdownError) -> int:
    if isinstance(error, ConfigError):
        return USAGE
    return UNREACHABLE if isinstance(error, UpstreamError) else FAILED
