"""Train and certify specialists now, or show each task's state."""

from __future__ import annotations

import argparse
import os
import textwrap
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from gateway.cli import OK

if TYPE_CHECKING:
    from gateway.core import Standing
    from gateway.settings import Settings

WIDTH = 80


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("run", help="take every task one step further (`serve` does so by itself)")
    status = actions.add_parser("status", help="show each task's stage, version and what is missing")
    status.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Learn, or show what was learned."""
    from gateway.settings import read_settings

    settings = read_settings(os.environ)
    return _learn(settings) if arguments.action == "run" else _status(settings, as_json=arguments.json)


def _learn(settings: Settings) -> int:
    from gateway.processes.learner import create_learner, describe_event, learn_once, limit_threads
    from gateway.store.state import open_state

    limit_threads()
    with open_state(settings.home) as state:
        events = learn_once(settings, create_learner(settings, state))
    for event in events:
        print(describe_event(event))
    if not events:
        print(
            f"nothing to learn yet: a task needs {settings.learn.adopt_rows} harvested rows, its first\n"
            f"version {settings.learn.first_rows}, every later version more than the one before"
        )
    return OK


def _status(settings: Settings, *, as_json: bool) -> int:
    from gateway.store.state import open_state

    with open_state(settings.home) as state:
        standings = state.standings.all()
        templates = {task.task: task.template_text for task in state.tasks.all()}
    if as_json:
        import msgspec

        print(msgspec.json.encode(standings).decode())
        return OK
    for task, group in groupby(standings, key=lambda standing: standing.task):
        print("\n".join(_describe_task(task, templates.get(task, ""), list(group))))
    if not standings:
        print("no task yet: send traffic through `stepdown serve`")
    return OK


def _describe_task(task: str, template: str, standings: Sequence[Standing]) -> Iterator[str]:
    """Yield lines of at most 80 characters: the task, its template, then each way to recognize it."""
    yield task
    if template:
        yield textwrap.shorten(template, WIDTH, initial_indent="  ", placeholder=" ...")
    for standing in standings:
        version = f"v{standing.version}" if standing.version else "-"
        head = f"  {standing.lane:<11}  {standing.stage:<6}  {version:<3}  "
        yield from textwrap.wrap(
            standing.note, WIDTH, initial_indent=head, subsequent_indent=" " * len(head)
        ) or [head.rstrip()]
