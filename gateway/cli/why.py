"""Explain why a request was answered as it was, or list the latest decisions."""

from __future__ import annotations

import argparse
import os
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gateway.cli import OK, add_watch, read_count

if TYPE_CHECKING:
    from gateway.policy.schema import Policy
    from gateway.settings import Settings
    from gateway.store.decision_log import DecisionLog
    from gateway.store.state import State

# A response in a websocket has the id of the websocket and a number.
_ID = re.compile(r"[0-9a-f]{32}(-\d{1,9})?")
_DECISIONS = ("local", "escalated", "audit", "bypass", "refused")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("request_id", nargs="?", help="the x-stepdown-request-id of the answer")
    parser.add_argument("--last", type=read_count, metavar="N", help="list the last N decisions (20)")
    parser.add_argument("--policy", help="only those of this policy")
    parser.add_argument("--task", help="only those of this task, by its id or name")
    parser.add_argument("--decision", choices=_DECISIONS, help="only those")
    parser.add_argument("--status", type=int, help="only those with this HTTP status")
    add_watch(parser)
    parser.add_argument("--json", action="store_true", help="print JSON; of a list, one object per line")


def run(arguments: argparse.Namespace) -> int:
    """Print one explanation or a list. Raises ConfigError for no id, StepdownError for an unknown one."""
    from gateway.settings import read_settings
    from gateway.store.state import open_state

    settings = read_settings(os.environ)
    with open_state(settings.home) as state:
        if arguments.request_id:
            _explain_one(arguments, settings, state)
        else:
            _list_newest(arguments, state)
    return OK


def _explain_one(arguments: argparse.Namespace, settings: Settings, state: State) -> None:
    import msgspec

    from gateway.errors import ConfigError, StepdownError
    from gateway.policy.explanation import explain_decision
    from gateway.policy.explanation_text import render_explanation

    request_id = arguments.request_id.strip().lower()
    if not _ID.fullmatch(request_id):
        raise ConfigError(
            f"'{arguments.request_id}' is no request id: give the 32 hex digits of x-stepdown-request-id, "
            "with -1 and so on for a response in a websocket"
        )
    records = state.decisions.find(request_id)
    if not records:
        raise StepdownError(
            f"no decision {request_id} in {settings.home.decisions_db}{_hint(state.decisions)}"
        )
    explanation = explain_decision(records, _read_policies(settings), state.tasks.names.of)
    if arguments.json:
        print(msgspec.json.encode(explanation).decode())
    else:
        print("\n".join(render_explanation(explanation)))


def _hint(decisions: DecisionLog) -> str:
    from gateway.policy.explanation_text import format_time

    begins_at = decisions.begins_at()
    if begins_at is None:
        return ": it is empty"
    return f": all are kept since {format_time(begins_at)}, of older ones a sample"


def _read_policies(settings: Settings) -> tuple[Policy, ...]:
    from gateway.errors import ConfigError
    from gateway.policy.load import load_policies

    try:
        return load_policies(settings.policies.folder)
    except ConfigError:
        # A record is worth showing while the files are being changed.
        return ()


def _list_newest(arguments: argparse.Namespace, state: State) -> None:
    import msgspec

    from gateway.store.decision_filter import DecisionFilter
    from gateway.store.task_lookup import find_recorded_task

    count = 20 if arguments.last is None else max(0, arguments.last)
    task = None if arguments.task is None else find_recorded_task(state, arguments.task)
    wanted = DecisionFilter(arguments.policy, task, arguments.decision, arguments.status)
    found = state.decisions.newest(count, wanted)
    if arguments.json:
        for record in found:
            print(msgspec.json.encode(record).decode())
        return
    if not found:
        print("no decision to show")
    for record in reversed(found):
        row = record.row
        # No policy's name may break the line: the id alone takes 32 columns.
        what = f"{record.status} {record.reason}"
        print(f"{row.request_id} {_clock(row.at)} {row.decision:9} {_shorten(what, 28)}")


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S")


def _shorten(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 3]}..."
