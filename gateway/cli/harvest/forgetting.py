"""`harvest forget`: deletes rows and what was made of them, and leaves a receipt of hashes."""

from __future__ import annotations

import argparse
import sys
import time

import msgspec

from gateway.cli import FAILED, OK
from gateway.cli.harvest.forgotten import forget_everywhere
from gateway.errors import ConfigError
from gateway.finops.periods import parse_past
from gateway.harvest.base import hash_user
from gateway.harvest.removal import Selection
from gateway.processes.forgetting import Receipt, forget_rows, write_receipt
from gateway.processes.harvest_access import lock_parts, open_harvest, open_removal
from gateway.processes.registry_access import open_registry
from gateway.settings import Settings
from gateway.store.audit_trail import name_local_actor
from gateway.store.home import Home, read_audit_key
from gateway.store.state import State, open_state
from gateway.store.task_lookup import find_recorded_task


def forget(settings: Settings, arguments: argparse.Namespace) -> int:
    """Forget what the options select, and say what was done."""
    home = settings.home
    selection = _read_selection(home, arguments)
    with open_state(home) as state:
        if selection.task:
            task = find_recorded_task(state, selection.task, open_harvest(settings).counts())
            selection = msgspec.structs.replace(selection, task=task)
        # Whose rows they were must not stand in a record that stays for ever: the receipt has hashes.
        by = [name for name in selection.__struct_fields__ if getattr(selection, name) not in ("", None)]
        state.trail.add(name_local_actor(), "harvest forget", by=by)
        if settings.state.is_shared:
            selection = _add_former_names(state, selection, arguments)
            return forget_everywhere(settings, state, selection, arguments)
        with lock_parts(settings):
            removal, registry = open_removal(settings), open_registry(settings)
            receipt = forget_rows(home, state, selection, removal, registry, say=_say)
    write_receipt(home, receipt)
    print(msgspec.json.encode(receipt).decode() if arguments.json else _describe(receipt))
    return OK if receipt.is_wiped else FAILED


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _read_selection(home: Home, arguments: argparse.Namespace) -> Selection:
    before = parse_past(arguments.before, time.time()) if arguments.before else None
    selection = Selection(
        request_id=arguments.request,
        user=hash_user(arguments.user, read_audit_key(home)) if arguments.user else "",
        tenant=arguments.tenant,
        caller=arguments.caller,
        task=arguments.task,
        before=before,
    )
    if selection == Selection():
        raise ConfigError("say what to forget: --request, --user, --tenant, --caller, --task or --before")
    return selection


def _add_former_names(state: State, selection: Selection, arguments: argparse.Namespace) -> Selection:
    """Return `selection` with the names that a user had while a machine had an audit key of its own."""
    if not arguments.user:
        return selection
    names = [hash_user(arguments.user, key) for key in state.forgets.former_audit_keys()]
    return msgspec.structs.replace(selection, former_users=tuple(sorted({*names} - {selection.user})))


def _describe(receipt: Receipt) -> str:
    lines = [
        f"{receipt.rows:,} rows forgotten ({receipt.held_out:,} evidence), {receipt.audits:,} audits, "
        f"{receipt.decisions:,} records of decisions"
    ]
    lines += [f"withdrawn and deleted: {version}" for version in receipt.withdrawn]
    lines += [f"certificates of {task} are blocked: evidence is gone" for task in receipt.blocked]
    lines += [
        f"may still hold them: {export.path or 'standard output'} ({export.format})"
        for export in receipt.exports
    ]
    lines += [f"not ours to delete: {holder}" for holder in receipt.still_held_by]
    if not receipt.is_wiped:
        lines.append("you must still: run it again, a reader kept the bytes from being overwritten")
    lines += [f"you must still: {step}" for step in receipt.left_to_do]
    return "\n".join(lines)
