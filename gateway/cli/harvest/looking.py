"""`harvest tail`, `show` and `query`: the rows themselves."""

from __future__ import annotations

import argparse
import shutil
import sys
import textwrap
import time
from collections.abc import Iterable

import msgspec

from gateway.cli import OK
from gateway.cli.harvest.result_table import format_result
from gateway.cli.harvest.terminal_text import make_visible
from gateway.errors import StepdownError
from gateway.harvest.base import Row
from gateway.processes.harvest_access import list_query_columns, open_harvest, query_harvest
from gateway.processes.inventory import describe_request, describe_row, read_newest
from gateway.settings import Settings
from gateway.store.state import State, open_state
from gateway.store.task_lookup import find_recorded_tasks

POLL_S = 1.0
_LEAST_ROOM = 46
"""Columns for a text and its answer beside what names the row."""
_BREAK = "\n  "
_WIDTH = 160
"""Where there is no terminal."""
_ANY_WIDTH = 1 << 20
"""Of the result of a query there: what reads it may want columns."""


def tail(settings: Settings, arguments: argparse.Namespace) -> int:
    """Print the newest rows, with `--follow` those that come."""
    reader = open_harvest(settings)
    asked = arguments.task
    tasks = find_recorded_tasks(settings.home, asked, reader.counts()) if asked else frozenset()
    batch = reader.latest(arguments.lines)
    rows = read_newest(reader, tasks, arguments.lines) if tasks else batch.rows
    if not (rows or arguments.follow or arguments.json):
        print("no rows yet: send traffic through `stepdown serve`")
    shown: set[tuple[str, float]] = set()
    while True:
        for row in rows:
            # What came between two reads is in both.
            if (not tasks or row.task in tasks) and (row.request_id, row.at) not in shown:
                print(_render_json(row) if arguments.json else _render_line(row), flush=True)
        if not arguments.follow:
            return OK
        shown = {(row.request_id, row.at) for row in rows}
        time.sleep(POLL_S)
        batch = reader.latest(10_000, batch.cursor)
        rows = batch.rows


def show(settings: Settings, arguments: argparse.Namespace) -> int:
    """Print everything that is kept of a request, and what was said of it, as JSON.

    Raises StepdownError if nothing is.
    """
    request_id = arguments.request.strip()
    with open_state(settings.home) as state:
        shown = describe_request(settings, state, request_id)
        if shown is None:
            raise StepdownError(_explain_absence(state, request_id))
        if not shown["rows"]:
            print(f"stepdown: {_explain_absence(state, request_id)}", file=sys.stderr)
    print(msgspec.json.format(msgspec.json.encode(shown)).decode())
    return OK


def _explain_absence(state: State, request_id: str) -> str:
    absence = f"no row of request {request_id[:64]}: "
    decisions = state.decisions.find(request_id)
    if not decisions:
        return absence + "it was not kept, or its time is over"
    if decisions[-1].row.decision == "local":
        absence += "a specialist answered it, which is kept only if an app complains of it within the hour"
    else:
        absence += "its answer was not kept, or its time is over"
    return f"{absence}; `stepdown why {request_id}` explains it"


def query(settings: Settings, arguments: argparse.Namespace) -> int:
    """Print what the SQL selects, as a table or as JSON Lines; without SQL the columns that there are."""
    if arguments.sql is None:
        columns = list_query_columns(settings)
        print(msgspec.json.encode(columns).decode() if arguments.json else _list_columns(columns))
        return OK
    limit = arguments.limit
    # One more than is shown tells whether there are more.
    answer = query_harvest(settings, arguments.sql, None if arguments.json else limit + 1)
    if arguments.json:
        for values in answer.rows:
            print(msgspec.json.encode(dict(zip(answer.columns, values, strict=True)), enc_hook=str).decode())
        return OK
    width = shutil.get_terminal_size((_ANY_WIDTH, 24)).columns
    for line in format_result(answer.columns, answer.rows[:limit], width):
        print(line)
    if len(answer.rows) > limit:
        print(f"there are more than {limit:,} rows: --limit shows others", file=sys.stderr)
    return OK


def _list_columns(columns: Iterable[str]) -> str:
    indent = " " * 6
    return textwrap.fill(f"rows: {', '.join(columns)}", 80, subsequent_indent=indent)


def _render_line(row: Row) -> str:
    day = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(row.at))
    head = f"{day}  {_kind_of(row):<6}  {row.task}  {row.request_id}"
    width = shutil.get_terminal_size((_WIDTH, 24)).columns
    # In a narrow window the texts have a line of their own.
    is_narrow = width < len(head) + _LEAST_ROOM
    room = width - 6 if is_narrow else width - len(head) - 6
    answer = _one_line(row.draft if row.is_local else row.answer, room // 2)
    text = _one_line(row.text, room - len(answer))
    return f"{head}{_BREAK if is_narrow else '  '}{text} -> {answer}"


def _kind_of(row: Row) -> str:
    if row.is_held_out:
        return "audit"
    if row.is_local:
        return "local"
    return "lesson" if row.is_lesson else "export"


def _render_json(row: Row) -> str:
    return msgspec.json.encode(describe_row(row)).decode()


def _one_line(text: str, width: int) -> str:
    return make_visible(textwrap.shorten(text, max(width, 10), placeholder=" ..."))
