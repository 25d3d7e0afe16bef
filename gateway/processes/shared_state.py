"""The process that keeps this machine's state and that of the others the same; only with `[state] url`."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from gateway.ipc.backoff import Backoff
from gateway.ipc.child_process import exit_with_parent, run_child, start_module
from gateway.ipc.heartbeat import Heart
from gateway.processes.loops import StepLog
from gateway.settings import Settings, read_settings
from gateway.sharing.contact import Contact, ContactReport, write_contact_report
from gateway.sharing.synchronizer import Synchronizer
from gateway.store.home import read_audit_key, read_machine_name, read_place, replace_audit_key
from gateway.store.shared_counters import Counters
from gateway.store.state import State, open_state
from gateway.telemetry.logs import configure_logging

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 0.5
FIRST_RETRY_S, LONGEST_RETRY_S = 5.0, 300.0
"""Between two attempts to forget, while the storage or the shared state is away."""
KEPT_S = 86_400.0
"""A request to forget that all machines have carried out can be looked up for so long."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Exchange until SIGTERM, or until the parent is gone."""
    settings = read_settings(os.environ)
    configure_logging(is_json=settings.server.log_format == "json")
    exit_with_parent()
    Heart(os.environ).beat_in_thread()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with open_state(settings.home) as state:
        synchronizer = create_synchronizer(settings, state)
        watch = ForgettingWatch(state, read_machine_name(settings.home), stop)
        threading.Thread(target=watch.run, name="forgetting", daemon=True).start()
        synchronizer.run(stop.is_set, stop.wait)
        synchronizer.leave()


def create_synchronizer(settings: Settings, state: State) -> Synchronizer:
    """Return the exchange of one home folder with the others."""
    home = settings.home
    # The column behind those of the workers.
    counters = Counters(home.counters, settings.server.workers)

    def adopt_audit_key(key: bytes) -> None:
        if key != read_audit_key(home):
            logger.warning("shared state: audits are chosen by the key of the other machines from now on")
            # Users of this machine's rows are named by it.
            state.forgets.keep_audit_key(read_audit_key(home))
            replace_audit_key(home, key)

    def report(contact: ContactReport) -> None:
        with contextlib.suppress(OSError):
            write_contact_report(home, contact)

    state.forgets.join(read_machine_name(home), socket.gethostname())
    return Synchronizer(
        settings.state,
        state.database,
        Contact(counters, settings.state),
        counters,
        machine=read_machine_name(home),
        place=read_place(home),
        policies=digest_policies(settings.policies.folder),
        audit_key=read_audit_key(home),
        adopt_audit_key=adopt_audit_key,
        report=report,
    )


class ForgettingWatch:
    """Lets a process carry out what other machines ask to forget, whenever something waits."""

    def __init__(self, state: State, machine: str, stop: threading.Event) -> None:
        self._forgets = state.forgets
        self._machine = machine
        self._stop = stop
        self._backoff = Backoff(FIRST_RETRY_S, LONGEST_RETRY_S)

    def run(self) -> None:
        """Watch until it is to stop; a fault is said once and tried again."""
        log = StepLog()
        while not self._stop.wait(LOOK_EVERY_S):
            log.run(self._look)

    def _look(self) -> None:
        """Carry out what waits, and drop what every machine has done. Raises sqlite3.Error."""
        self._forgets.prune(time.time() - KEPT_S)
        if not self._forgets.waiting(self._machine):
            return
        # It ends with this process, and may at any time: what is left is done by the next.
        if start_module("gateway.processes.fleet_forgetting", []).wait() == 0:
            self._backoff.reset()
        else:
            self._stop.wait(self._backoff.next_pause_s())


def digest_policies(folder: str | None) -> str:
    """Return a hash of the policy files, by which machines see that they follow the same ones."""
    digest = hashlib.sha256()
    for path in sorted(Path(folder).glob("*.yaml")) if folder else ():
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


if __name__ == "__main__":
    run_child(main)
