"""Look at the harvest, review, import and export it, prune it, or forget what a user asks for."""

from __future__ import annotations

import argparse
import os
import time
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.cli import OK, add_watch, read_count, read_number

if TYPE_CHECKING:
    from gateway.settings import Settings

_ACTIONS = {
    "tail": ("looking", "tail"),
    "show": ("looking", "show"),
    "query": ("looking", "query"),
    "review": ("reviewing", "review"),
    "import": ("importing", "import_files"),
    "export": ("exporting", "export_rows"),
    "forget": ("forgetting", "forget"),
    "forgotten": ("forgotten", "list_requests"),
    "ship": ("moving", "ship"),
    "parts": ("moving", "list_parts"),
}
"""Module and function of each action that has a module of its own."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    stats = actions.add_parser("stats", help="files, size, age, and rows by task")
    add_watch(stats)
    stats.add_argument("--json", action="store_true", help="print JSON")
    _add_looking(actions)
    _add_review(actions.add_parser("review", help="correct or exclude answers; suspected errors come first"))
    _add_import(
        actions.add_parser("import", help="learn from recorded conversations; served after live audits")
    )
    _add_export(actions.add_parser("export", help="write rows in the format of a trainer"))
    prune = actions.add_parser(
        "prune", help="delete what may be kept no longer (`serve` does so every ten minutes)"
    )
    prune.add_argument("--json", action="store_true", help="print JSON")
    prune.add_argument("--keep-days", type=_days, metavar="DAYS", help="this once, a shorter time")
    ship = actions.add_parser(
        "ship", help="move rows to the parts now and tidy these (`serve` does so every minute)"
    )
    ship.add_argument("--json", action="store_true", help="print JSON")
    parts = actions.add_parser("parts", help="list the Parquet files that count, for other programs to read")
    parts.add_argument("--task", action="append", help="only this task (id or name); may be repeated")
    parts.add_argument("--json", action="store_true", help="print JSON Lines with counts and hashes")
    _add_forget(
        actions.add_parser("forget", help="delete rows for good, with the specialists that learnt them")
    )
    forgotten = actions.add_parser("forgotten", help="which machines have done what `forget` asked them")
    forgotten.add_argument(
        "--retire", metavar="MACHINE", help="wait no more for a machine that does not come back"
    )
    forgotten.add_argument("--json", action="store_true", help="print JSON Lines")


def _add_looking(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    tail = actions.add_parser("tail", help="print the newest rows")
    tail.add_argument("-f", "--follow", action="store_true", help="and those that come, until interrupted")
    tail.add_argument("-n", "--lines", type=read_count, default=10, metavar="ROWS", help="how many (10)")
    tail.add_argument("--task", action="append", help="only this task (id or name); may be repeated")
    tail.add_argument("--json", action="store_true", help="print JSON Lines with every field")
    show = actions.add_parser("show", help="print all that is kept of a request, as JSON")
    show.add_argument("request", metavar="ID", help="its x-stepdown-request-id")
    show.add_argument("--json", action="store_true", help="as it is anyway")
    query = actions.add_parser(
        "query", help="SQL over the table `rows`: SQLite's, or DuckDB's where rows move to parts"
    )
    query.add_argument(
        "sql",
        nargs="?",
        metavar="SQL",
        help="such as 'SELECT task, count(*) FROM rows GROUP BY 1'; without it the columns are listed",
    )
    query.add_argument("--limit", type=read_count, default=100, metavar="ROWS", help="of the table (100)")
    query.add_argument("--json", action="store_true", help="print JSON Lines, without a limit")


def _add_review(review: argparse.ArgumentParser) -> None:
    review.add_argument("--task", action="append", help="only this task (id or name); may be repeated")
    review.add_argument(
        "--limit", type=read_count, default=60, metavar="ROWS", help="how many to look at (60)"
    )
    way = review.add_mutually_exclusive_group()
    way.add_argument("--json", action="store_true", help="print what waits for review as JSON Lines")
    way.add_argument(
        "--apply",
        type=Path,
        metavar="FILE",
        help='take verdicts as JSON Lines, - for standard input: {"request_id": ..., "answer": ...} with '
        'the right answer, or {"request_id": ..., "exclude": true}; or what Label Studio exports as JSON',
    )
    way.add_argument("--undo", action="store_true", help="take the latest verdict back")


def _add_import(action: argparse.ArgumentParser) -> None:
    action.add_argument(
        "files",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="JSON Lines, a JSON array, CSV or Parquet: OpenAI's fine-tuning form, stored completions, "
        "stored responses with their `input`, {request, response} of either API, {messages, answer}, "
        "spend logs of LiteLLM, exports of Langfuse or OpenTelemetry, or two columns",
    )
    action.add_argument(
        "--like",
        type=Path,
        metavar="REQUEST",
        help="a request of the app, of the API that it uses, as JSON: its model, system message, tools and "
        "format, where records have none or spell them otherwise",
    )
    action.add_argument("--model", help="the model that the app asks for, where records name none")
    action.add_argument("--key", metavar="NAME", help="count them as requests with this gateway key")
    action.add_argument("--tenant", help="count them as requests of this tenant")
    action.add_argument("--text-column", default="text", metavar="NAME", help="of a table (text)")
    action.add_argument("--answer-column", default="answer", metavar="NAME", help="of a table (answer)")
    action.add_argument("--dry-run", action="store_true", help="say what would be imported, change nothing")
    action.add_argument("--json", action="store_true", help="print the report as JSON")


def _add_export(export: argparse.ArgumentParser) -> None:
    export.add_argument(
        "--format",
        default="openai",
        help="openai (the default), openai_dpo, trl, trl_dpo, classification, parquet, label_studio or "
        "promptfoo",
    )
    export.add_argument("--task", action="append", help="only this task (id or name); may be repeated")
    export.add_argument("--out", type=Path, metavar="FILE", help="file to write (standard output)")
    export.add_argument(
        "--dataset",
        type=Path,
        metavar="FOLDER",
        help="write a data set instead: splits by cluster, card, lineage, hashes",
    )
    export.add_argument(
        "--as-of", metavar="WHEN", help="only rows from before a UTC day or time (2026-11-01)"
    )
    export.add_argument(
        "--validation-share", type=_share, default=0.1, metavar="SHARE", help="of a data set (0.1)"
    )
    export.add_argument("--json", action="store_true", help="print the count as JSON, on standard error")
    export.add_argument(
        "--accept-terms",
        action="store_true",
        help="export rows of a teacher that the settings call `trainable = restricted`, too",
    )
    export.add_argument(
        "--with-audits",
        action="store_true",
        help="held-out rows too: certificates are earned on these, do not train on them",
    )


def _add_forget(forget: argparse.ArgumentParser) -> None:
    forget.add_argument("--request", default="", metavar="ID", help="the row of this request")
    forget.add_argument(
        "--user",
        default="",
        help="rows of this end user, as the app named it in `user` or `safety_identifier`",
    )
    forget.add_argument("--tenant", default="", help="rows of this tenant")
    forget.add_argument("--caller", default="", help="rows of this caller: a key's name, or fwd-...")
    forget.add_argument("--task", default="", help="rows of this task, by its id or name")
    forget.add_argument(
        "--before", metavar="WHEN", help="rows older than a span (90d) or a UTC day (2026-11-01)"
    )
    forget.add_argument(
        "--wait", type=float, default=60.0, metavar="S", help="for other machines that share the state (60)"
    )
    forget.add_argument("--json", action="store_true", help="print the receipt as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Do what the action says."""
    from gateway.settings import read_settings

    settings = read_settings(os.environ)
    # All that these commands write holds prompts, or names of those who wrote them.
    os.umask(0o077)
    if arguments.action in ("stats", "prune"):
        action = {"stats": _stats, "prune": _prune}[arguments.action]
    else:
        module, function = _ACTIONS[arguments.action]
        action = getattr(import_module(f"{__name__}.{module}"), function)
    return int(action(settings, arguments))


def _stats(settings: Settings, arguments: argparse.Namespace) -> int:
    from gateway.processes.harvest_access import open_harvest
    from gateway.store.state import open_state
    from gateway.store.task_lookup import name_apart

    stats = open_harvest(settings).stats()
    if arguments.json:
        import msgspec

        print(msgspec.json.encode(stats).decode())
        return OK
    if not stats.tasks:
        print("no rows yet: send traffic through `stepdown serve`")
        return OK
    span = f"{_format_day(stats.oldest_at)} to {_format_day(stats.newest_at)}"
    files = "1 file" if stats.files == 1 else f"{stats.files} files"
    parts = f", {stats.parts:,} parts, {stats.parts_bytes / 1e6:.1f} MB" if stats.parts else ""
    print(f"{files}, {stats.size_bytes / 1e6:.1f} MB{parts}, rows {span}")
    with open_state(settings.home) as state:
        names = name_apart(state, stats.tasks)
    for task, name in sorted(names.items(), key=lambda named: named[1]):
        count = stats.tasks[task]
        others = f"{count.exported:>9,} exports" if count.exported else ""
        others += f"{count.local:>9,} local, complained of" if count.local else ""
        # A long name has a line of its own: cut, two of them could look the same.
        head = f"{name:20}" if len(name) < 20 else f"{name}\n{'':20}"
        print(f"{head}{count.training:>10,} for training{count.held_out:>9,} held out{others}")
    return OK


def _prune(settings: Settings, arguments: argparse.Namespace) -> int:
    import msgspec

    from gateway.harvest.removal import prune
    from gateway.policy.load import load_policies
    from gateway.processes.harvest_access import lock_parts, open_removal
    from gateway.processes.pruning import read_retention
    from gateway.store.state import record_change

    retention = read_retention(settings.harvest, load_policies(settings.policies.folder))
    if (keep_days := arguments.keep_days) is not None:
        shortest = min(keep_days, retention.keep_days or keep_days)
        retention = msgspec.structs.replace(retention, keep_days=shortest)
    record_change(settings.home, "harvest prune", keep_days=retention.keep_days)
    removed = prune(settings.home.harvest, retention, time.time())
    with lock_parts(settings):
        if parts := open_removal(settings):
            removed += parts.prune(retention, time.time())
    print(f'{{"removed": {removed}}}' if arguments.json else f"{removed:,} rows removed")
    return OK


def _days(text: str) -> float:
    days = read_number(text)
    if not days >= 0:
        raise argparse.ArgumentTypeError("must be at least 0 days")
    return days


def _share(text: str) -> float:
    share = read_number(text)
    if not 0 <= share < 1:
        raise argparse.ArgumentTypeError("must be a share of at least 0 and below 1")
    return share


def _format_day(at: float | None) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(at)) if at else "-"
