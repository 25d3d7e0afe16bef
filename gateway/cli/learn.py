"""Train and certify specialists now, or see where each task stands."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from gateway.cli import OK

if TYPE_CHECKING:
    from gateway.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("run", help="take every task one step further now (`serve` does it by itself)")
    status = actions.add_parser("status", help="each task: stage, version, certificate, what is missing")
    status.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Do the action."""
    from gateway.settings import read_settings

    settings = read_settings(os.environ)
    return _run(settings) if arguments.action == "run" else _status(settings, as_json=arguments.json)


def _run(settings: Settings) -> int:
    from gateway.processes.learner import create_learner, describe, learn_once, limit_threads
    from gateway.store.state import open_state

    limit_threads()
    with open_state(settings.home) as state:
        events = learn_once(settings, create_learner(settings, state))
        for event in events:
            print(describe(event))
        if not events:
            rows = settings.learn.adopt_rows
            print(
                f"nothing to learn: a task needs {rows} harvested rows, a new version more rows than the last"
            )
    return OK


def _status(settings: Settings, *, as_json: bool) -> int:
    from gateway.store.state import open_state

    with open_state(settings.home) as state:
        standings = state.standings.all()
        adopted = {task.task: task for task in state.tasks.all()}
    if as_json:
        import msgspec

        print(msgspec.json.encode(standings).decode())
        return OK
    for one in standings:
        version = f"v{one.version}" if one.version else "-"
        print(f"{one.task}  {one.lane}  {one.stage}  {version}  {one.note}")
        if template := adopted[one.task].template_text if one.task in adopted else "":
            print(f"    {' '.join(template.split())[:100]}")
    if not standings:
        print("no task yet: send traffic through `stepdown serve`")
    return OK
