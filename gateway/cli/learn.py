"""Train and certify specialists now, or show each task's state."""

from __future__ import annotations

import argparse
import json
import os
import sys
import textwrap
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from gateway.cli import OK, add_watch

if TYPE_CHECKING:
    from gateway.api.admin.models import TaskReport
    from gateway.core import Certificate
    from gateway.settings import Settings

WIDTH = 80


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    running = actions.add_parser("run", help="take every task one step further (`serve` does so by itself)")
    running.add_argument("--task", default="", help="only this task, by its id or name")
    running.add_argument(
        "--force", action="store_true", help="make a version now, grown or not (with --task)"
    )
    running.add_argument("--recipe", default="", help="by this recipe, not by the quickest (with --force)")
    running.add_argument("--reason", default="", help="why, for the log of actions (with --force)")
    status = actions.add_parser("status", help="show each task's stage, version and what is missing")
    add_watch(status)
    for action in (running, status):
        action.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Learn, or show what was learned."""
    from gateway.settings import read_settings

    settings = read_settings(os.environ)
    # What is learnt holds texts of requests.
    os.umask(0o077)
    if arguments.action == "run":
        return _learn(settings, arguments)
    return _status(settings, as_json=arguments.json)


def _learn(settings: Settings, arguments: argparse.Namespace) -> int:
    import msgspec

    from gateway.errors import ConfigError
    from gateway.processes.learner import (
        NICENESS,
        create_learner,
        describe_event,
        learn_once,
        limit_threads,
    )
    from gateway.processes.versions import Order, resolve_task, train_now
    from gateway.store.audit_trail import name_local_actor
    from gateway.store.state import open_state

    if arguments.force and not (arguments.task and arguments.reason):
        raise ConfigError("--force wants --task and --reason: a test by hand spends delta as any other")
    if arguments.recipe and not arguments.force:
        raise ConfigError("--recipe wants --force: without it the learner chooses, when a task has grown")
    limit_threads()
    # As the learner beside `serve`: there may be a gateway on this machine.
    os.nice(NICENESS)
    with open_state(settings.home) as state:
        task = resolve_task(state, settings, arguments.task) if arguments.task else ""
        if sys.stderr.isatty():
            print("learning: seconds for a head, minutes for other students ...", file=sys.stderr)
        order = Order(name_local_actor(), arguments.reason)
        if arguments.force:
            events = train_now(settings, state, task, order, arguments.recipe)
        else:
            state.trail.add(order.actor, "learn run", task, reason=order.reason)
            learner = create_learner(settings, state)
            events = learn_once(settings, learner, lambda: learner.step(task))
        names = {event.task: state.tasks.names.of(event.task) for event in events}
    if arguments.json:
        print(json.dumps([{"task": event.task, "said": describe_event(event)} for event in events]))
        return OK
    for event in events:
        print(describe_event(msgspec.structs.replace(event, task=names[event.task])))
    if not events:
        print(
            f"nothing to learn yet: a task needs {settings.learn.adopt_rows} harvested rows, its first\n"
            f"version {settings.learn.first_rows}, every later version more than the one before"
        )
    return OK


def _status(settings: Settings, *, as_json: bool) -> int:
    from gateway.processes.harvest_access import open_harvest
    from gateway.processes.task_report import create_reporter, describe_absence, summarize_task
    from gateway.store.state import open_state

    counts = open_harvest(settings).counts()
    with open_state(settings.home) as state:
        reports = create_reporter(settings, state).report_all(counts)
        summaries = [summarize_task(one, state.certifications.of(one.task)) for one in reports]
    if as_json:
        import msgspec

        print(msgspec.json.encode(summaries).decode())
        return OK
    for one in reports:
        print("\n".join(_describe_task(one, settings.learn.first_rows)))
    if not reports:
        print(describe_absence(counts, settings.learn.adopt_rows))
    return OK


def _describe_task(report: TaskReport, first_rows: int) -> Iterator[str]:
    """Yield lines of at most 80 characters: the task, its owner, its template, then each certificate."""
    version = f"v{report.version}" if report.version else "no version yet"
    name = "" if report.name == report.task else f"{report.name}  "
    yield f"{name}{report.task}  {version}  {report.scope}".rstrip()
    if report.template_text:
        yield textwrap.shorten(report.template_text, WIDTH, initial_indent="  ", placeholder=" ...")
    for one in report.certificates:
        target = f"{one.target.alpha:.3g}/{one.target.delta:.3g}{one.target.manner}"
        yield from _wrap(f"  {one.stratum:<7}  {target:<9}  {one.stage:<6}  ", one.note)
        if one.stage == "live":
            yield f"{'':<30}{_describe_dates(one)}"
    if report.version and report.because:
        missed = "not for every policy" if report.is_serving else "the teacher answers all"
        yield from _wrap(f"  {missed}: ", report.because)
    if note := report.note or ("" if report.version else _describe_wait(report.rows.training, first_rows)):
        yield from _wrap("  ", note)


def _describe_wait(rows: int, first_rows: int) -> str:
    """Return what a task without a version waits for."""
    if rows < first_rows:
        return f"{rows} rows to learn from; its first version needs {first_rows}"
    return f"{rows} rows to learn from: its first version is in the making, or waits for the learner"


def _describe_dates(certificate: Certificate) -> str:
    """Return from when to when its evidence is, and how long it is in force."""
    dates = (certificate.evidence_from, certificate.evidence_to, certificate.expires_at)
    since, until, ends = (time.strftime("%Y-%m-%d", time.gmtime(at)) for at in dates)
    verb = "until" if certificate.is_in_force(time.time()) else "lapsed"
    kind = "audits" if certificate.target.evidence == "live" else "imported"
    return f"{kind} {since} to {until}, {verb} {ends}"


def _wrap(head: str, text: str) -> list[str]:
    indent = " " * len(head)
    return textwrap.wrap(text, WIDTH, initial_indent=head, subsequent_indent=indent) or [head.rstrip()]
