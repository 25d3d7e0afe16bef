"""The state of one home folder: its stores, its secret, its sums."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from gateway.store.audits import AuditLog
from gateway.store.database import Database
from gateway.store.keys import KeyStore
from gateway.store.spend import SpendLog
from gateway.store.standings import StandingStore
from gateway.store.tasks import TaskStore

AUDIT_KEY_BYTES = 32


class State:
    """The stores of one home folder, over one connection to its `state.db`."""

    def __init__(self, home: Path) -> None:
        self.database = Database(home / "state.db")
        self.keys = KeyStore(self.database)
        self.standings = StandingStore(self.database)
        self.tasks = TaskStore(self.database)
        self.audits = AuditLog(self.database)
        self.spend = SpendLog(self.database)

    def close(self) -> None:
        """Write what waits and close the file."""
        self.audits.flush()
        self.database.close()


@contextmanager
def open_state(home: Path) -> Iterator[State]:
    """Give the stores of the folder `home`, which exists."""
    state = State(home)
    try:
        yield state
    finally:
        state.close()


def audit_key(home: Path) -> bytes:
    """Return the secret of the audit coin, made at first use; the same for every process and restart."""
    path = home / "coin.key"
    if not path.exists():
        fresh = home / f"coin.{os.getpid()}.{time.monotonic_ns()}"
        fresh.write_bytes(secrets.token_bytes(AUDIT_KEY_BYTES))
        fresh.chmod(0o600)
        # Of several processes which start together one wins, and all read what it wrote.
        with contextlib.suppress(FileExistsError):
            os.link(fresh, path)
        fresh.unlink()
    return path.read_bytes()


def costs(spend: SpendLog) -> dict[str, Any]:
    """Return the sums of all days and of each decision, for people and programs."""
    by_decision: dict[str, int] = {}
    for account, sums in spend.entries():
        by_decision[account.decision] = by_decision.get(account.decision, 0) + sums.requests
    return {**msgspec.to_builtins(spend.totals()), "by_decision": by_decision}
