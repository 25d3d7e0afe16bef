"""`harvest tail`, `show` and `query`: the rows themselves."""

from __future__ import annotations

import argparse
import shutil
import textwrap
import time
from collections.abc import Iterable

import msgspec

from gateway.cli import FAILED, OK
from gateway.cli.harvest.terminal_text import make_visible
from gateway.harvest.base import Row
from gateway.processes.harvest_access import list_query_columns, open_harvest, query_harvest
from gateway.processes.inventory import describe_row
from gateway.settings import Settings
from gateway.store.state import open_state
from gateway.store.task_lookup import find_recorded_task

POLL_S = 1.0
_LEAST_ROOM = 46
"""Columns for a text and its answer beside what names the row."""
_BREAK = "\n  "
_WIDTH = 160
"""Where there is no terminal."""


def tail(settings: Settings, arguments: argparse.Namespace) -> int:
    """Print the newest rows, with `--follow` those that come."""
    reader = open_harvest(settings)
    tasks = _find_tasks(settings, reader.counts(), arguments.task) if arguments.task else frozenset()
    batch = reader.latest(arguments.lines)
    if not (batch.rows or arguments.follow or arguments.json):
        print("no rows yet: send traffic through `stepdown serve`")
    while True:
        for row in batch.rows:
            if not tasks or row.task in tasks:
                print(_render_json(row) if arguments.json else _render_line(row), flush=True)
        if not arguments.follow:
            return OK
        time.sleep(POLL_S)
        batch = reader.latest(10_000, batch.cursor)


def _find_tasks(settings: Settings, known: Iterable[str], asked: list[str]) -> frozenset[str]:
    with open_state(settings.home) as state:
        return frozenset(find_recorded_task(state, task, known) for task in asked)


def show(settings: Settings, arguments: argparse.Namespace) -> int:
    """Print everything that is kept of a request, and what was said of it, as JSON."""
    rows = open_harvest(settings).find(arguments.request)
    if not rows:
        print(f"no row of request {arguments.request}: it was not kept, or its time is over")
        return FAILED
    with open_state(settings.home) as state:
        verdicts = [one for row in rows for one in state.reviews.verdicts(row.task)]
        feedback = state.reviews.feedback()
    shown = {
        "rows": [describe_row(row) for row in rows],
        "verdicts": [one for one in verdicts if one.request_id == arguments.request],
        "feedback": [one for one in feedback if one.request_id == arguments.request],
    }
    print(msgspec.json.format(msgspec.json.encode(shown)).decode())
    return OK


def query(settings: Settings, arguments: argparse.Namespace) -> int:
    """Print what the SQL selects, as a table or as JSON Lines; without SQL the columns that there are."""
    if arguments.sql is None:
        columns = list_query_columns(settings)
        print(msgspec.json.encode(columns).decode() if arguments.json else _list_columns(columns))
        return OK
    answer = query_harvest(settings, arguments.sql, None if arguments.json else arguments.limit)
    if arguments.json:
        for values in answer.rows:
            print(msgspec.json.encode(dict(zip(answer.columns, values, strict=True)), enc_hook=str).decode())
        return OK
    table = [answer.columns, *([_shorten(value) for value in values] for values in answer.rows)]
    widths = [max(len(line[column]) for line in table) for column in range(len(answer.columns))]
    for line in table:
        print("  ".join(value.ljust(width) for value, width in zip(line, widths, strict=True)).rstrip())
    return OK


def _list_columns(columns: Iterable[str]) -> str:
    indent = " " * 6
    return textwrap.fill(f"rows: {', '.join(columns)}", 80, subsequent_indent=indent)


def _render_line(row: Row) -> str:
    day = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(row.at))
    kind = "audit" if row.is_held_out else "lesson" if row.is_lesson else "export"
    head = f"{day}  {kind:<6}  {row.task}  {row.request_id}"
    width = shutil.get_terminal_size((_WIDTH, 24)).columns
    # In a narrow window the texts have a line of their own.
    is_narrow = width < len(head) + _LEAST_ROOM
    room = width - 6 if is_narrow else width - len(head) - 6
    answer = _one_line(row.answer, room // 2)
    text = _one_line(row.text, room - len(answer))
    return f"{head}{_BREAK if is_narrow else '  '}{text} -> {answer}"


def _render_json(row: Row) -> str:
    return msgspec.json.encode(describe_row(row)).decode()


def _one_line(text: str, width: int) -> str:
    return make_visible(textwrap.shorten(text, max(width, 10), placeholder=" ..."))


def _shorten(value: object) -> str:
    return _one_line(value, 60) if isinstance(value, str) else str(value)
