"""The stores of one home folder, over one connection to its database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from gateway.store.audits import AuditLog
from gateway.store.awaited_usage import AwaitedUsages
from gateway.store.certifications import CertificationStore
from gateway.store.database import Database
from gateway.store.home import Home
from gateway.store.keys import KeyStore
from gateway.store.ledger_rows import LedgerRows
from gateway.store.objects import ObjectStore
from gateway.store.spend import SpendLog
from gateway.store.tasks import TaskStore
from gateway.store.templates import TemplateStore


class State:
    """Everything that the processes of one home agree on: keys, certifications, tasks, audits, spend."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.keys = KeyStore(database)
        self.certifications = CertificationStore(database)
        self.tasks = TaskStore(database)
        self.templates = TemplateStore(database)
        self.audits = AuditLog(database)
        self.spend = SpendLog(database)
        self.ledger_rows = LedgerRows(database)
        self.awaited_usage = AwaitedUsages(database)
        self.objects = ObjectStore(database)

    def close(self) -> None:
        """Write what waits, then close the database."""
        self.audits.flush()
        self.database.close()


@contextmanager
def open_state(home: Home) -> Iterator[State]:
    """Give the stores of `home`; makes the folder if it is new. Raises ConfigError."""
    home.make()
    state = State(Database(home.state_db))
    try:
        yield state
    finally:
        state.close()
