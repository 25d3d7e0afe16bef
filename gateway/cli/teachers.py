"""List the teachers, and check that each can be reached and takes our key."""

from __future__ import annotations

import argparse
import os
import textwrap
from typing import TYPE_CHECKING

from gateway.cli import FAILED, OK, UNREACHABLE

if TYPE_CHECKING:
    from gateway.processes.teacher_check import TeacherCheck
    from gateway.settings import Settings


WIDTH = 80


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="list the teachers in the order of asking")
    checking = actions.add_parser("check", help="ask each teacher for its models")
    checking.add_argument("names", nargs="*", metavar="NAME", help="only these teachers")
    for action in (listing, checking):
        action.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """List or check."""
    from gateway.settings import read_settings

    settings = read_settings(os.environ)
    if arguments.action == "list":
        return _list(settings, is_json=arguments.json)
    return _check(settings, arguments.names, is_json=arguments.json)


def _list(settings: Settings, *, is_json: bool) -> int:
    import msgspec

    from gateway.processes.teachers import describe_teachers
    from gateway.store.retirements import read_retirements

    retirements = read_retirements(settings.home)
    described = [
        msgspec.structs.replace(one, retirements=retirements.get(one.name, {}))
        for one in describe_teachers(settings)
    ]
    if is_json:
        print(msgspec.json.encode(described).decode())
        return OK
    for one in described:
        models = ", ".join(f"{asked} -> {name}" for asked, name in one.models.items())
        notes = [
            one.credential,
            *([models] if models else []),
            *([] if one.trainable == "yes" else [f"trainable: {one.trainable}"]),
            *(f"{model} retires on {day}" for model, day in one.retirements.items()),
        ]
        _print_wrapped(f"{one.name:16}  {one.provider:10}  {one.base_url}  ({'; '.join(notes)})", indent=18)
    return OK


def _check(settings: Settings, names: list[str], *, is_json: bool) -> int:
    import asyncio

    import msgspec

    from gateway.processes.teacher_check import check_all
    from gateway.store.retirements import write_retirements

    checks = asyncio.run(check_all(settings, names))
    if settings.home.folder.is_dir():
        said = {check.name: check.retirements for check in checks if check.models is not None}
        write_retirements(settings.home, said)
    if is_json:
        print(msgspec.json.encode(checks).decode())
    else:
        for check in checks:
            _print_wrapped(_line(check), indent=6)
    if any(check.is_unreachable for check in checks):
        return UNREACHABLE
    return FAILED if any(check.problem for check in checks) else OK


def _print_wrapped(line: str, *, indent: int) -> None:
    """Print `line` as lines of WIDTH at most; addresses and names of models stay whole, to be copied."""
    lines = textwrap.wrap(
        line, WIDTH, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False
    )
    print("\n".join(lines))


def _line(check: TeacherCheck) -> str:
    if check.problem:
        return f"fail  {check.name:16}  {check.base_url}: {check.problem}"
    missing = f"; does not list {', '.join(check.missing)}" if check.missing else ""
    retiring = "".join(f"; {model} retires on {day}" for model, day in check.retirements.items())
    models = f"{check.models} models{missing}{retiring}" if check.models is not None else "lists no models"
    word = "warn" if missing or retiring else "ok  "
    return f"{word}  {check.name:16}  {check.latency_ms:.0f} ms, {models}"
