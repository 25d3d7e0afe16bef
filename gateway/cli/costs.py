"""Show what was spent and what local answers saved."""

from __future__ import annotations

import argparse
import json
import os

from gateway.cli import OK


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    report = actions.add_parser("report", help="dollars and requests, by day and decision")
    report.add_argument("--since", default="", metavar="YYYY-MM-DD", help="first day, in UTC (the oldest)")
    report.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Print the report."""
    import msgspec

    from gateway.settings import read_settings
    from gateway.store.state import open_state

    with open_state(read_settings(os.environ).home) as state:
        entries = state.spend.entries(arguments.since)
        total = state.spend.totals(arguments.since)
    if arguments.json:
        rows = [{**msgspec.to_builtins(account), **msgspec.to_builtins(sums)} for account, sums in entries]
        print(json.dumps({"total": msgspec.to_builtins(total), "entries": rows}))
        return OK
    for account, sums in entries:
        print(
            f"{account.day}  {account.decision:9}  {account.model:20.20}  {account.task or '-':20}"
            f"  {sums.requests:>8,} requests"
            f"  ${sums.usd:>10.4f}  instead of ${sums.counterfactual_usd:>10.4f}"
        )
    print(f"spent ${total.usd:.4f}, saved ${total.counterfactual_usd - total.usd:.4f}", end="")
    print(f", shadow drafts would have saved ${total.would_save_usd:.4f}")
    if total.estimated or total.unpriced:
        print(f"estimated tokens: {total.estimated:,} requests; model without a price: {total.unpriced:,}")
    return OK
