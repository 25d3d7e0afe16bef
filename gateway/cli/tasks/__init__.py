"""List, explain, rename and freeze tasks; acknowledge their alarms."""

from __future__ import annotations

import argparse
import os
import sys
import textwrap
import time
from typing import TYPE_CHECKING

from gateway.cli import FAILED, OK, add_watch, read_count, read_number

if TYPE_CHECKING:
    from gateway.api.admin.models import TaskReport
    from gateway.distill.preview import Preview
    from gateway.processes.task_report import TaskReporter
    from gateway.settings import Settings
    from gateway.store.state import State

ALPHAS = (0.005, 0.01, 0.02, 0.05, 0.1)
_NAMES_ONE = "its id, its name, or OWNER/NAME where two owners have one of that name"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    add_watch(actions.add_parser("list", help="list tasks, and who answers them"))
    show = actions.add_parser("show", help="explain a task: promise, evidence, what is missing, money")
    show.add_argument(
        "--what-if", action="store_true", help="try other alphas on the stored audits: seconds to minutes"
    )
    add_watch(show)
    rename = actions.add_parser("rename", help="give a task another readable name")
    freeze = actions.add_parser("freeze", help="have the teacher answer a task, or all, from now on")
    unfreeze = actions.add_parser("unfreeze", help="end a freeze")
    acknowledge = actions.add_parser("ack", help="acknowledge the alarm of a task, or of all")
    migrate = actions.add_parser(
        "migrate", help="ask another model what a task's lessons asked, compare, and learn its answers"
    )
    for action in (show, rename, migrate):
        action.add_argument("task", help=_NAMES_ONE)
    migrate.add_argument("--to", required=True, metavar="MODEL", help="the model that the app will name")
    migrate.add_argument("--budget", required=True, type=_dollars, metavar="USD", help="such as $5")
    migrate.add_argument(
        "--rows",
        type=read_count,
        default=2_000,
        metavar="N",
        help="the size of the sample (2,000), the same each time: what MODEL has answered is not asked again",
    )
    migrate.add_argument(
        "--again",
        action="store_true",
        help="ask, and pay, once more where an answer taught nothing: refused, cut, or with private data",
    )
    rename.add_argument("name", help="a-z, 0-9, '.', '_' and '-'; apps may ask for model stepdown/NAME")
    for action in (freeze, unfreeze, acknowledge):
        group = action.add_mutually_exclusive_group(required=True)
        group.add_argument("task", nargs="?", default=None, help=_NAMES_ONE)
        group.add_argument("--all", action="store_true", help="all tasks; with freeze those to come, too")
    for action in (freeze, acknowledge):
        action.add_argument("--note", default="", help="why, for those who look later")
    for action in actions.choices.values():
        action.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Do what was asked for. Raises ConfigError for an unknown task, or a name that it cannot have."""
    from gateway.processes.task_report import create_reporter
    from gateway.settings import read_settings
    from gateway.store.state import open_state

    settings = read_settings(os.environ)
    with open_state(settings.home) as state:
        reporter = create_reporter(settings, state)
        action = {
            "list": _list, "show": _show, "rename": _rename, "ack": _acknowledge, "migrate": _migrate,
        }  # fmt: skip
        return action.get(arguments.action, _freeze)(arguments, settings, state, reporter)


def _list(arguments: argparse.Namespace, settings: Settings, state: State, reporter: TaskReporter) -> int:
    from gateway.cli.tasks.formatting import format_freeze, format_row
    from gateway.processes.harvest_access import open_harvest
    from gateway.processes.task_report import describe_absence
    from gateway.store.interventions import ALL_TASKS
    from gateway.store.task_changes import find_freezer

    counts = open_harvest(settings).counts()
    reports = reporter.report_all(counts)
    if arguments.json:
        return _print_json(reports)
    for freeze in state.interventions.list_freezes():
        if freeze.task == ALL_TASKS:
            by = find_freezer(state, ALL_TASKS)
            print("\n".join(textwrap.wrap(f"ALL TASKS ARE {format_freeze(freeze, by)}", 80)))
    for report in reports:
        print("\n".join(format_row(report)))
    if not reports:
        print(describe_absence(counts, settings.learn.adopt_rows))
    return OK


def _show(arguments: argparse.Namespace, settings: Settings, state: State, reporter: TaskReporter) -> int:
    import msgspec

    from gateway.cli.tasks.formatting import format_details, format_previews
    from gateway.processes.harvest_access import open_harvest
    from gateway.processes.task_report import measure_stakes

    harvest, now = open_harvest(settings), time.time()
    report = reporter.add_changes(reporter.find(arguments.task, reporter.report_all(harvest.counts())))
    known = state.tasks.get(report.task)
    stakes = measure_stakes(state, harvest, known, now) if known else None
    previews = _preview(settings, state, report) if arguments.what_if else []
    if arguments.json:
        return _print_json({**msgspec.structs.asdict(report), "stakes": stakes, "what_if": previews})
    print("\n".join(format_details(report, stakes, now)))
    if previews:
        print("\n".join(format_previews(previews, stakes)))
    elif report.version:
        print("\nwhat other alphas would give: `stepdown tasks show --what-if`")
    return OK


def _migrate(arguments: argparse.Namespace, settings: Settings, state: State, reporter: TaskReporter) -> int:
    from gateway.cli.tasks.formatting import format_migration
    from gateway.processes.migrating import migrate_task
    from gateway.processes.versions import resolve_task
    from gateway.store.audit_trail import name_local_actor

    task = resolve_task(state, settings, arguments.task)
    state.trail.add(name_local_actor(), "tasks migrate", task, to=arguments.to, usd=arguments.budget)
    shows_progress = sys.stderr.isatty()

    def say(answered: int) -> None:
        if shows_progress:
            print(f"\r{answered:,} answered", end="", file=sys.stderr, flush=True)

    done = migrate_task(
        settings, task, arguments.to, arguments.budget, arguments.rows, is_again=arguments.again, say=say
    )
    if shows_progress:
        print("\r\x1b[K", end="", file=sys.stderr)
    if arguments.json:
        return _print_json(done)
    state.tasks.refresh()
    print("\n".join(format_migration(done, state.tasks.names.of)))
    return FAILED if (done.failed and not done.asked) or not done.known + done.asked else OK


def _dollars(text: str) -> float:
    dollars = read_number(text.removeprefix("$"))
    if not dollars > 0:
        raise argparse.ArgumentTypeError("must be more than $0")
    return dollars


def _preview(settings: Settings, state: State, report: TaskReport) -> list[Preview]:
    from gateway.processes.learner import limit_threads, preview_alphas

    limit_threads()
    asked = {target.alpha for target in report.targets}
    return preview_alphas(settings, state, report.task, sorted({*ALPHAS, *asked}))


def _rename(arguments: argparse.Namespace, _: Settings, state: State, reporter: TaskReporter) -> int:
    from gateway.store.audit_trail import name_local_actor
    from gateway.store.task_changes import rename_task

    report = reporter.find(arguments.task, reporter.report_all({}))
    rename_task(state, name_local_actor(), report.task, arguments.name)
    if arguments.json:
        return _print_json({"task": report.task, "name": arguments.name, "before": report.name})
    print(f"{report.task} is named {arguments.name}, before {report.name}")
    print(f"apps ask for model stepdown/{arguments.name}, or always for stepdown/{report.task};")
    print(f"stepdown/{report.name} is no model any more")
    return OK


def _freeze(arguments: argparse.Namespace, settings: Settings, state: State, reporter: TaskReporter) -> int:
    from gateway.store.audit_trail import name_local_actor
    from gateway.store.interventions import ALL_TASKS
    from gateway.store.task_changes import freeze_task, unfreeze_task

    report = None if arguments.all else reporter.find(arguments.task, reporter.report_all({}))
    task = report.task if report else ALL_TASKS
    what = report.name if report else "all tasks"
    if arguments.action == "freeze":
        is_new = freeze_task(state, name_local_actor(), task, arguments.note)
        said = f"frozen{'' if is_new else ' before'}: {what}; {_describe_reach(settings)}"
    elif unfreeze_task(state, name_local_actor(), task):
        said = f"unfrozen: {what}; {_describe_reach(settings)}"
    else:
        print(f"stepdown: {what}: not frozen{_hint(state, task)}", file=sys.stderr)
        return FAILED
    if arguments.json:
        is_frozen = task in {freeze.task for freeze in state.interventions.list_freezes()}
        return _print_json({"task": task or None, "is_frozen": is_frozen})
    print(said)
    if arguments.action == "unfreeze" and (left := state.interventions.list_freezes()):
        names = ", ".join(state.tasks.names.of(freeze.task) or "all tasks" for freeze in left)
        print(f"still frozen: {names}")
    return OK


def _describe_reach(settings: Settings) -> str:
    """Return when it holds: a command in another folder changes another home than the gateway's."""
    from gateway.errors import UpstreamError
    from gateway.store.run_file import read_run_file

    try:
        run = read_run_file(settings.home)
    except UpstreamError:
        return f"no gateway runs from\n{settings.home.folder}: it holds for the next one"
    return f"{run.url} follows within a second"


def _hint(state: State, task: str) -> str:
    return " by itself: `stepdown tasks unfreeze --all`" if state.interventions.is_frozen(task) else ""


def _acknowledge(arguments: argparse.Namespace, _: Settings, state: State, reporter: TaskReporter) -> int:
    from gateway.store.audit_trail import name_local_actor
    from gateway.store.task_changes import acknowledge_alarm

    reports = reporter.report_all({})
    chosen = reports if arguments.all else [reporter.find(arguments.task, reports)]
    open_alarms = [report for report in chosen if report.alarms and report.seen_alarm is None]
    for report in open_alarms:
        acknowledge_alarm(state, name_local_actor(), report.task, report.alarms, arguments.note)
    if arguments.json:
        return _print_json([{"task": report.task, "alarms": report.alarms} for report in open_alarms])
    for report in open_alarms:
        print(f"acknowledged: {report.name}, alarm {report.alarms}")
    if not open_alarms:
        print("no alarm that was not acknowledged")
    return OK


def _print_json(value: object) -> int:
    import msgspec

    print(msgspec.json.encode(value).decode())
    return OK
