"""Show what was spent and what local answers saved."""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from gateway.cli import OK, add_watch
from gateway.errors import ConfigError

if TYPE_CHECKING:
    from gateway.finops.report import Group, Period
    from gateway.settings import Settings
    from gateway.store.state import State

_BY = ("day", "policy", "model", "key", "tenant", "task", "endpoint", "decision")
_DAY_S = 86_400.0
# 80 columns, and four of them are gaps.
_NAME_WIDTH = 28


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    report = actions.add_parser("report", help="dollars and requests of a period")
    report.add_argument("--by", choices=_BY, default="day", help="what a line stands for (day)")
    report.add_argument(
        "--since",
        metavar="WHEN",
        help="7d, 24h, 90m, 2w, 2026-11-01 or 2026-11-01T12:00, UTC (the beginning)",
    )
    report.add_argument("--json", action="store_true", help="print JSON")
    add_watch(report)
    report.add_argument("--focus", type=Path, metavar="FILE", help="write a FOCUS 1.2 CSV file")
    report.add_argument("--digest", action="store_true", help="print the last seven whole days as Markdown")


def run(arguments: argparse.Namespace) -> int:
    """Print the report. Raises ConfigError for a time that is none."""
    from gateway.finops.periods import parse_past
    from gateway.finops.report import describe_period, read_period
    from gateway.settings import read_settings
    from gateway.store.state import open_state

    now = time.time()
    since = None if arguments.since is None else parse_past(arguments.since, now)
    settings = read_settings(os.environ)
    with open_state(settings.home) as state:
        if arguments.digest:
            print(_digest(state, now), end="")
            return OK
        period = read_period(state.spend, state.decisions, since)
        names = state.tasks.names
    if arguments.focus:
        _write_focus(period, arguments.focus, settings)
    elif arguments.json:
        print(json.dumps(describe_period(period, arguments.by)))
    else:
        _print_report(period, arguments.by, names.of if arguments.by == "task" else str)
    return OK


def _print_report(period: Period, by: str, name_of: Callable[[str], str]) -> None:
    from gateway.finops.report import create_group, group_entries

    print(f"{by:{_NAME_WIDTH}} {'requests':>10} {'spent':>12} {'instead of':>12} {'audits':>12}")
    for group in group_entries(period.entries, by):  # type: ignore[arg-type]
        print(_line(group, name_of(group.name)))
    total = create_group("total", period.entries)
    print(_line(total, "total"))
    print()
    for line in _explain(total):
        print(line)
    if period.is_cut:
        print("rows of the beginning of this time are gone; whole days are kept for ever")


def _line(group: Group, name: str) -> str:
    name = "".join(letter if letter.isprintable() else "?" for letter in name) or "-"
    if len(name) > _NAME_WIDTH:
        name = name[: _NAME_WIDTH - 3] + "..."
    sums = group.sums
    return (
        f"{name:{_NAME_WIDTH}} {sums.requests:>10,} {_usd(sums.usd):>12} "
        f"{_usd(sums.counterfactual_usd):>12} {_usd(group.audit_usd):>12}"
    )


def _usd(usd: float) -> str:
    return f"${usd:,.4f}" if abs(usd) < 10_000 else f"${usd:,.0f}"


def _explain(total: Group) -> list[str]:
    """Return what stands below the table, each line within 80 columns."""
    sums = total.sums
    lines = [
        f"spent {_usd(sums.usd)}, saved {_usd(total.saved_usd)} net of the teacher's prompt cache",
        f"audits cost {_usd(total.audit_usd)}, hedges {_usd(sums.hedge_usd)}; training ran on this machine",
        f"shadow drafts would have saved {_usd(sums.would_save_usd)}",
    ]
    if sums.estimated:
        lines.append(f"tokens are estimates in {sums.estimated:,} requests")
    if sums.unpriced:
        lines.append(f"{sums.unpriced:,} requests named models that have no price:")
        lines.append(f"  booked by the answering model, {_usd(sums.unknown_usd)} as unknown models")
    return lines


def _digest(state: State, now: float) -> str:
    from gateway.finops.digest import render_digest
    from gateway.finops.periods import name_day

    today = now - now % _DAY_S
    days = [name_day(today - back * _DAY_S) for back in (14, 7, 1, 0)]
    this_week = state.spend.entries(days[1], days[3])
    return render_digest(this_week, state.spend.entries(days[0], days[1]), days[1], days[2])


def _write_focus(period: Period, path: Path, settings: Settings) -> None:
    from gateway.finops.focus import write_focus

    upstream = settings.upstream
    host = urlsplit(upstream.base_url).hostname or upstream.base_url
    provider = "OpenAI" if host == "api.openai.com" else host
    account = upstream.organization or host
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            count = write_focus(period.entries, file, provider=provider, account=account)
    except OSError as exc:
        raise ConfigError(f"--focus {path}: {exc.strerror}") from exc
    print(f"{count:,} charges written to {path}")
