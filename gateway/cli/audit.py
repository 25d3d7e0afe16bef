"""Show who changed what and when, and check that nobody changed that record."""

from __future__ import annotations

import argparse
import os
import textwrap
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from gateway.cli import FAILED, OK, add_watch, read_count

if TYPE_CHECKING:
    from gateway.store.audit_trail import AuditTrail, Entry

WIDTH = 80


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="list the latest changes")
    listing.add_argument("--last", type=read_count, default=20, metavar="N", help="so many of them (20)")
    listing.add_argument(
        "--about", default="", metavar="ID", help="only of this task (its name, too), key or token"
    )
    add_watch(listing)
    verify = actions.add_parser("verify", help="recompute the chain of hashes: exit code 1 if it is broken")
    verify.add_argument(
        "--head", default="", metavar="N:HASH", help="the head of an earlier check, which must be in it still"
    )
    for action in (listing, verify):
        action.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """List or verify."""
    from gateway.settings import read_settings
    from gateway.store.state import open_state
    from gateway.store.task_lookup import name_subject

    with open_state(read_settings(os.environ).home) as state:
        if arguments.action == "verify":
            return _verify(state.trail, arguments)
        return _list(state.trail, name_subject(state, arguments.about), arguments)


def _list(trail: AuditTrail, about: str, arguments: argparse.Namespace) -> int:
    import msgspec

    entries = trail.newest(max(0, arguments.last), subject=about)[::-1]
    if arguments.json:
        print(msgspec.json.encode(entries).decode())
        return OK
    for entry in entries:
        print("\n".join(_describe(entry)))
    if not entries:
        print("no change was recorded")
    return OK


def _describe(entry: Entry) -> Iterator[str]:
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(entry.at))
    what = " ".join(part for part in (entry.action, entry.subject) if part)
    facts = "" if entry.facts == "{}" else f" {entry.facts}"
    line = "".join(letter if letter.isprintable() else "?" for letter in f"{entry.actor}: {what}{facts}")
    yield from textwrap.wrap(line, WIDTH, initial_indent=f"{at}  ", subsequent_indent=" " * 21)


def _verify(trail: AuditTrail, arguments: argparse.Namespace) -> int:
    import msgspec

    verdict = trail.verify(arguments.head)
    if arguments.json:
        print(msgspec.json.encode(verdict).decode())
    elif verdict.fault:
        print(f"BROKEN after {verdict.entries:,} whole entries: {verdict.fault}")
    else:
        print(f"ok: {verdict.entries:,} entries, head\n{verdict.head}")
    return FAILED if verdict.fault else OK
