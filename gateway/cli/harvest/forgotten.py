"""Forgetting on several machines: asks all, waits for their receipts, and says which did not answer."""

from __future__ import annotations

import argparse
import sqlite3
import sys
import time

import msgspec

from gateway.cli import FAILED, OK, UNREACHABLE
from gateway.errors import StepdownError
from gateway.harvest.removal import Selection
from gateway.processes.fleet_forgetting import FleetForgetting, FleetReceipt, read_receipt
from gateway.processes.forgetting import NOT_OURS, OLD_FILES
from gateway.settings import Settings
from gateway.sharing.contact import read_contact_report
from gateway.store.audit_trail import name_local_actor
from gateway.store.forgets import ForgetRequest
from gateway.store.home import Home
from gateway.store.state import State, open_state

LOOK_EVERY_S = 0.2


class Machine(msgspec.Struct, frozen=True):
    """A machine that must carry out a request."""

    machine: str
    host: str


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far the machines are with one request."""

    request: str
    at: float
    rows: int
    audits: int
    decisions: int
    withdrawn: tuple[str, ...]
    blocked: tuple[str, ...]
    receipts: tuple[FleetReceipt, ...]
    """Of the machines that are done."""
    missing: tuple[Machine, ...]
    """Those that are not: each does it once it can, and serves no specialist before."""
    still_held_by: tuple[str, ...] = NOT_OURS
    left_to_do: tuple[str, ...] = ()
    """Of any of the machines that are done; see Receipt."""


def forget_everywhere(
    settings: Settings, state: State, selection: Selection, arguments: argparse.Namespace
) -> int:
    """Ask every machine to forget, do this one's part, wait for the others, and say what was done."""
    forgetting = FleetForgetting(settings, state)
    request = forgetting.publish(selection)
    try:
        forgetting.carry_out(request)
    except (StepdownError, sqlite3.Error) as exc:
        print(f"stepdown: this machine is not done, its gateway tries again: {exc}", file=sys.stderr)
    give_up_at = time.monotonic() + arguments.wait
    while state.forgets.missing(request.id) and time.monotonic() < give_up_at:
        time.sleep(LOOK_EVERY_S)
    progress = read_progress(state, request, has_parts=settings.harvest.parts is not None)
    doubts = _list_doubts(settings.home, state)
    print(msgspec.json.encode(progress).decode() if arguments.json else _describe(progress))
    for doubt in doubts:
        print(f"stepdown: {doubt}", file=sys.stderr)
    if (progress.missing or doubts) and arguments.wait:
        return UNREACHABLE
    return OK if all(receipt.is_wiped for receipt in progress.receipts) else FAILED


def list_requests(settings: Settings, arguments: argparse.Namespace) -> int:
    """Print the requests that are kept, with the machines that are done and those that are not."""
    with open_state(settings.home) as state:
        if arguments.retire:
            state.trail.add(name_local_actor(), "harvest retire machine", arguments.retire)
            if not state.forgets.retire(arguments.retire):
                known = ", ".join(state.forgets.machines()) or "none"
                raise StepdownError(f"no machine {arguments.retire!r}; known: {known}")
        for request in state.forgets.requests():
            progress = read_progress(state, request, has_parts=settings.harvest.parts is not None)
            print(msgspec.json.encode(progress).decode() if arguments.json else _describe(progress))
    return OK


def read_progress(state: State, request: ForgetRequest, *, has_parts: bool) -> Progress:
    """Return how far the machines are with `request`."""
    missing = state.forgets.missing(request.id)
    answers = {name: read_receipt(one) for name, one in state.forgets.answers(request.id).items()}
    every = [*answers.values()]
    return Progress(
        request=request.id,
        at=request.at,
        rows=sum(one.rows for one in every),
        audits=sum(one.audits for one in every),
        decisions=sum(one.decisions for one in every),
        withdrawn=tuple(sorted({name for one in every for name in one.withdrawn})),
        blocked=tuple(sorted({name for one in every for name in one.blocked})),
        receipts=tuple(one for name, one in sorted(answers.items()) if name not in missing),
        missing=tuple(Machine(name, host) for name, host in missing.items()),
        still_held_by=NOT_OURS + ((OLD_FILES,) if has_parts else ()),
        left_to_do=tuple(sorted({each for one in every for each in one.left_to_do})),
    )


def _describe(progress: Progress) -> str:
    asked = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(progress.at))
    lines = [f"request {progress.request}, asked at {asked}"]
    for one in progress.receipts:
        lines.append(
            f"done by {one.host} ({one.machine}): {one.rows:,} rows ({one.held_out:,} evidence), "
            f"{one.audits:,} audits, {one.decisions:,} records of decisions"
        )
        lines += [f"  may still hold them: {path}" for path in one.exports]
    lines += [f"withdrawn and deleted: {version}" for version in progress.withdrawn]
    lines += [f"certificates of {task} are blocked: evidence is gone" for task in progress.blocked]
    lines += [
        f"NOT DONE by {one.host} ({one.machine}): it does it once it can, before it serves its specialists"
        for one in progress.missing
    ]
    lines += [f"not ours to delete: {holder}" for holder in progress.still_held_by]
    lines += [f"you must still: {step}" for step in progress.left_to_do]
    return "\n".join(lines)


def _list_doubts(home: Home, state: State) -> list[str]:
    """Return what keeps machines from being asked, one line each."""
    report, known = read_contact_report(home), len(state.forgets.machines())
    lines = []
    if report.state != "connected":
        lines.append("the shared state is away, or no gateway runs here: the others are asked once that ends")
    elif report.machines > known:
        lines.append(
            f"{report.machines - known} machines run a stepdown that cannot be asked: forget there, too"
        )
    return lines
