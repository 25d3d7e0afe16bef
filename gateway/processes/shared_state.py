"""The process that keeps this machine's state and that of the others the same; only with `[state] url`."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import signal
import threading
from collections.abc import Sequence
from pathlib import Path

from gateway.ipc.child_process import exit_with_parent, run_child
from gateway.ipc.heartbeat import Heart
from gateway.settings import Settings, read_settings
from gateway.sharing.contact import Contact, ContactReport, write_contact_report
from gateway.sharing.synchronizer import Synchronizer
from gateway.store.home import read_audit_key, read_machine_name, replace_audit_key
from gateway.store.shared_counters import Counters
from gateway.store.state import State, open_state
from gateway.telemetry.logs import configure_logging

logger = logging.getLogger(__name__)


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
            replace_audit_key(home, key)

    def report(contact: ContactReport) -> None:
        with contextlib.suppress(OSError):
            write_contact_report(home, contact)

    return Synchronizer(
        settings.state,
        state.database,
        Contact(counters, settings.state),
        counters,
        machine=read_machine_name(home),
        policies=digest_policies(settings.policies.folder),
        audit_key=read_audit_key(home),
        adopt_audit_key=adopt_audit_key,
        report=report,
    )


def digest_policies(folder: str | None) -> str:
    """Return a hash of the policy files, by which machines see that they follow the same ones."""
    digest = hashlib.sha256()
    for path in sorted(Path(folder).glob("*.yaml")) if folder else ():
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


if __name__ == "__main__":
    run_child(main)
