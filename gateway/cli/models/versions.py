"""`models compare`, `promote`, `rollback`, `pin` and `unpin`: versions by hand."""

from __future__ import annotations

import argparse
import json
import textwrap
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from gateway.cli import FAILED, OK
from gateway.distill.base import Event
from gateway.processes import versions
from gateway.processes.learner import describe_event, limit_threads
from gateway.settings import Settings
from gateway.store.audit_trail import name_local_actor
from gateway.store.state import State, open_state

_WIDTH = 80


class Outcome(NamedTuple):
    """A task's id and name, the version that was to draft, and the one that does."""

    task: str
    name: str
    version: int | None
    drafting: int | None


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Do what the action says. Raises ConfigError for an unknown task or version."""
    limit_threads()
    with open_state(settings.home) as state:
        task = versions.resolve_task(state, settings, arguments.task)
        if arguments.action == "compare":
            return _compare(settings, state, task, arguments)
        order = versions.Order(name_local_actor(), arguments.reason)
        if arguments.action in ("pin", "unpin"):
            return _pin(settings, state, task, order, arguments)
        if arguments.action == "promote":
            version: int | None = arguments.version
            events = versions.promote(settings, state, task, arguments.version, order)
        else:
            events = versions.rollback(settings, state, task, order)
            version = events[-1].version if events else None
        drafting = versions.find_drafting(state, task)
        outcome = Outcome(task, state.tasks.names.of(task), version, drafting)
        return report_outcome(outcome, events, as_json=arguments.json)


def _pin(
    settings: Settings, state: State, task: str, order: versions.Order, arguments: argparse.Namespace
) -> int:
    is_pinned = arguments.action == "pin"
    was_pinned = state.pins.is_pinned(task)
    versions.pin(settings, state, task, order, is_pinned=is_pinned)
    if arguments.json:
        print(json.dumps({"task": task, "is_pinned": is_pinned}))
    else:
        said = "pinned" if is_pinned else "not pinned" if not was_pinned else "unpinned"
        as_before = ", as before" if was_pinned is is_pinned else ""
        print(f"{state.tasks.names.of(task)}: {said}{as_before}")
    return OK


def report_outcome(outcome: Outcome, events: Sequence[Event], *, as_json: bool) -> int:
    """Print what was done; return the exit code."""
    task, name, version, drafting = outcome
    is_done = version is not None and drafting == version
    said = [_describe(msgspec.structs.replace(event, task=name)) for event in events]
    if as_json:
        print(json.dumps({"task": task, "version": version, "drafting": drafting, "said": said}))
        return OK if is_done else FAILED
    if not is_done:
        said.append(f"{name}: version {drafting} drafts on, because version {version} could not be certified")
    for line in said:
        print(textwrap.fill(line, _WIDTH, subsequent_indent="  "))
    return OK if is_done else FAILED


def _describe(event: Event) -> str:
    if event.kind == "trained":
        return f"{event.task}: version {event.version} drafts now, in shadow: it is not certified yet"
    if event.kind == "kept":
        # As a log has it, the word speaks of another version than the one that it names.
        return f"{event.task}: version {event.version} was tested on the audits of today: {event.detail}"
    return describe_event(event)


def _compare(settings: Settings, state: State, task: str, arguments: argparse.Namespace) -> int:
    found = versions.compare(settings, state, task, (arguments.first, arguments.second))
    if arguments.json:
        print(msgspec.json.encode(found).decode())
        return OK
    print_comparison(state.tasks.names.of(task), found)
    return OK


def print_comparison(name: str, found: versions.Comparison) -> None:
    """Print how two versions of a task of that name differ."""
    print(f"{name}: {found.agreement:.1%} of {found.texts:,} texts are answered alike")
    for side in (found.first, found.second):
        share = "no certificate" if side.coverage is None else f"{side.coverage:.1%} would be served"
        what = f"by {side.recipe}  {side.rows:,} rows  {side.draft_ms:.1f} ms a draft"
        print(f"  v{side.version}  {what}  {share}")
    versions_said = [f"v{side.version}" for side in (found.first, found.second)]
    room = max(map(len, versions_said))
    for one in found.differences:
        print(f"  {_shorten(one.text)}")
        for version, said in zip(versions_said, (one.first, one.second), strict=True):
            print(f"    {version:{room}}  {_shorten(said)}")
    if left_out := round((1 - found.agreement) * found.texts) - len(found.differences):
        print(f"  and {left_out:,} others")


def _shorten(text: str) -> str:
    # Texts of others: a terminal could obey what is not printable.
    plain = "".join(letter if letter.isprintable() else " " for letter in text)
    return textwrap.shorten(plain, _WIDTH - 10, placeholder=" ...") or "(refused)"
