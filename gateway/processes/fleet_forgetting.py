"""Forgetting on every machine that shares the state: each does it to its own files, and says so.

Run as a module, it carries out what waits for this machine and ends; the process that exchanges the shared
state starts it. A process of its own because it imports what nothing that serves does, for seconds a year.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import sqlite3
import sys
import time
from collections.abc import Iterator, Sequence
from hashlib import blake2b

import msgspec

from gateway.core import hash_text
from gateway.errors import StepdownError
from gateway.harvest.removal import Forgotten, Selection
from gateway.ipc.child_process import exit_with_parent, run_child
from gateway.processes.forgetting import (
    LOG_LIMIT_S,
    Receipt,
    forget_decisions,
    forget_requests,
    forget_rows,
    lock_learner,
    write_receipt,
)
from gateway.processes.harvest_access import lock_parts, open_removal
from gateway.processes.registry_access import open_registry
from gateway.processes.withdrawal import withdraw_versions
from gateway.registry.models import Registry
from gateway.settings import Settings, read_settings
from gateway.sharing.audits import delete_audits
from gateway.sharing.valkey import Valkey
from gateway.store.forgets import ForgetRequest, MachineAnswer
from gateway.store.home import read_audit_key, read_machine_name
from gateway.store.state import State, open_state
from gateway.telemetry.logs import configure_logging

logger = logging.getLogger(__name__)

OWN_ROWS_ARE_LEFT = -1
"""In the place of how many traces of other machines were looked for."""
TRACES_AT_ONCE = 1_000


class ForgottenTrace(msgspec.Struct, frozen=True, array_like=True):
    """What other machines must know of a forgotten row to find what came of it there: no content."""

    request_id: str
    task: str
    text: str
    """See `hash_learnt`."""


class FleetReceipt(msgspec.Struct, frozen=True, kw_only=True):
    """What one machine has forgotten, as all machines may read it: counts and names, no ids of requests."""

    machine: str
    host: str
    at: float = 0.0
    rows: int = 0
    held_out: int = 0
    audits: int = 0
    decisions: int = 0
    withdrawn: tuple[str, ...] = ()
    blocked: tuple[str, ...] = ()
    exports: tuple[str, ...] = ()
    """Files on that machine that may still hold them."""
    left_to_do: tuple[str, ...] = ()
    """See Receipt."""
    is_wiped: bool = True
    """False: nothing finds them, but their bytes were not overwritten yet; that machine tries again."""


class FleetForgetting:
    """Requests to forget, as one machine asks for them and carries them out. Methods may block for long."""

    def __init__(self, settings: Settings, state: State) -> None:
        self._settings = settings
        self._state = state
        self._home = settings.home
        self._machine = read_machine_name(settings.home)

    def publish(self, selection: Selection) -> ForgetRequest:
        """Ask every machine to forget; kept on disk until it can be sent, and until all have done it."""
        text = msgspec.json.encode(selection).decode()
        request = ForgetRequest(secrets.token_hex(8), self._machine, time.time(), text)
        self._state.forgets.join(self._machine, socket.gethostname())
        self._state.forgets.add(request)
        return request

    def run_waiting(self) -> int:
        """Carry out what this machine has not done yet; return how many requests. Raises StepdownError."""
        requests = self._state.forgets.waiting(self._machine)
        for request in requests:
            self.carry_out(request)
        return len(requests)

    def carry_out(self, request: ForgetRequest) -> FleetReceipt:
        """Do to this machine's files what `request` asks, answer, and return the receipt.

        Killed in between, a second call does what is left. Raises StepdownError where the storage or the
        shared state is away: this machine is not done then.
        """
        with lock_parts(self._settings):
            if request not in self._state.forgets.waiting(self._machine):
                # The process beside this one was first, and its receipt is the one with the counts.
                return self._last_receipt(request)
            selection = msgspec.json.decode(request.selection, type=Selection)
            answer = self._state.forgets.answers(request.id).get(self._machine)
            # Only once: what came since is not meant, should another machine answer days later.
            if answer is None or answer.traces == OWN_ROWS_ARE_LEFT:
                self._forget_own(request, selection)
            return self._forget_traces(request, selection)

    def _forget_own(self, request: ForgetRequest, selection: Selection) -> None:
        """Forget the rows of this machine and of the parts, tell the others, and keep the receipt."""
        settings = self._settings
        local = forget_rows(
            self._home,
            self._state,
            selection,
            open_removal(settings),
            open_registry(settings),
            tell_others=lambda rows: self._tell_others(request, rows),
        )
        write_receipt(self._home, local)
        receipt = _add_up(self._last_receipt(request), local)
        # Kept before what may fail: a second call finds these rows no more.
        self._answer(request, receipt, traces=0 if local.is_wiped else OWN_ROWS_ARE_LEFT, is_done=False)

    def _forget_traces(self, request: ForgetRequest, selection: Selection) -> FleetReceipt:
        """Forget what came here of the rows of other machines, and out of the log of all audits."""
        receipt = self._last_receipt(request)
        found = self._state.forgets.traces(request.id)
        bodies = [body for machine, body in found if machine != self._machine]
        traces = [trace for body in bodies for trace in _decode(body)]
        every = {trace.request_id for _, body in found for trace in _decode(body)}
        delete_audits(Valkey(self._settings.state), every | ({selection.request_id} - {""}))
        forgotten = self._forget_others(traces)
        receipt = msgspec.structs.replace(
            receipt,
            at=time.time(),
            audits=receipt.audits + forgotten.audits,
            decisions=receipt.decisions + forgotten.decisions,
            withdrawn=tuple(sorted({*receipt.withdrawn, *forgotten.withdrawn})),
            is_wiped=receipt.is_wiped and forgotten.is_wiped,
        )
        traces_done = len(bodies) if receipt.is_wiped else OWN_ROWS_ARE_LEFT
        self._answer(request, receipt, traces=traces_done, is_done=receipt.is_wiped)
        return receipt

    def _forget_others(self, traces: Sequence[ForgottenTrace]) -> FleetReceipt:
        """Forget what this machine has of rows that were on others."""
        home, state = self._home, self._state
        nothing = FleetReceipt(machine=self._machine, host="")
        if not traces:
            return nothing
        requests = {trace.request_id for trace in traces}
        tasks = sorted({trace.task for trace in traces})
        with lock_learner(home):
            withdrawn = [name for task in tasks for name in self._withdraw(task, traces)]
            audits = forget_requests(home, state, tasks, requests)
        decisions, are_wiped = forget_decisions(state, Selection(), requests)
        return msgspec.structs.replace(
            nothing,
            audits=audits,
            decisions=decisions,
            withdrawn=tuple(withdrawn),
            is_wiped=state.database.empty_log(LOG_LIMIT_S) and are_wiped,
        )

    def _withdraw(self, task: str, traces: Sequence[ForgottenTrace]) -> Iterator[str]:
        texts = {trace.text for trace in traces if trace.task == task}
        keys = [read_audit_key(self._home), *self._state.forgets.former_audit_keys()]

        def is_forgotten(text_hash: int) -> bool:
            return any(hash_learnt(text_hash, key) in texts for key in keys)

        # Versions that are on this machine alone: the others are judged where they are.
        here, delete = Registry(self._home.registry), open_registry(self._settings).delete
        yield from withdraw_versions(here, self._state, task, is_forgotten, delete)

    def _tell_others(self, request: ForgetRequest, rows: Sequence[Forgotten]) -> None:
        forgets, key = self._state.forgets, read_audit_key(self._home)
        told = [body for machine, body in forgets.traces(request.id) if machine == self._machine]
        known = {trace for body in told for trace in _decode(body)}
        traces = {
            ForgottenTrace(row.request_id, row.task, hash_learnt(hash_text(row.text), key)) for row in rows
        }
        new = sorted(traces - known, key=msgspec.structs.astuple)
        batches = [new[start : start + TRACES_AT_ONCE] for start in range(0, len(new), TRACES_AT_ONCE)]
        forgets.add_traces(request.id, self._machine, [_encode(batch) for batch in batches])

    def _answer(self, request: ForgetRequest, receipt: FleetReceipt, *, traces: int, is_done: bool) -> None:
        body = msgspec.json.encode(receipt).decode()
        self._state.forgets.answer(request.id, MachineAnswer(self._machine, is_done, traces, body))

    def _last_receipt(self, request: ForgetRequest) -> FleetReceipt:
        answer = self._state.forgets.answers(request.id).get(self._machine)
        if answer is None:
            return FleetReceipt(machine=self._machine, host=socket.gethostname())
        return read_receipt(answer)


def hash_learnt(text_hash: int, key: bytes) -> str:
    """Return what other machines are told of a text: keyed, so that it cannot be guessed from a list."""
    return blake2b(text_hash.to_bytes(8, "big"), digest_size=16, key=key[:64]).hexdigest()


def read_receipt(answer: MachineAnswer) -> FleetReceipt:
    """Return the receipt in a machine's answer."""
    return msgspec.json.decode(answer.body, type=FleetReceipt)


def _add_up(before: FleetReceipt, local: Receipt) -> FleetReceipt:
    exports = {each.path or "standard output" for each in local.exports}
    return msgspec.structs.replace(
        before,
        at=local.at,
        rows=before.rows + local.rows,
        held_out=before.held_out + local.held_out,
        audits=before.audits + local.audits,
        decisions=before.decisions + local.decisions,
        withdrawn=tuple(sorted({*before.withdrawn, *local.withdrawn})),
        blocked=tuple(sorted({*before.blocked, *local.blocked})),
        exports=tuple(sorted({*before.exports, *exports})),
        left_to_do=local.left_to_do,
        is_wiped=local.is_wiped,
    )


def _encode(traces: Sequence[ForgottenTrace]) -> tuple[str, str]:
    ids = msgspec.json.encode([trace.request_id for trace in traces]).decode()
    return ids, msgspec.json.encode(traces).decode()


def _decode(body: str) -> list[ForgottenTrace]:
    return msgspec.json.decode(body, type=list[ForgottenTrace])


def main() -> None:
    """Carry out what waits for this machine, once."""
    settings = read_settings(os.environ)
    configure_logging(is_json=settings.server.log_format == "json")
    exit_with_parent()
    with open_state(settings.home) as state:
        try:
            FleetForgetting(settings, state).run_waiting()
        except (StepdownError, sqlite3.Error, OSError) as exc:
            logger.error("what is to be forgotten is still here, and it is tried again: %s", exc)
            sys.exit(1)


if __name__ == "__main__":
    run_child(main)
