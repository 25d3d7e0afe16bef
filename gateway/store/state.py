"""The stores of one home folder, over one connection to its database."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

from gateway.core.steady_clock import SteadyClock
from gateway.errors import ConfigError, StepdownError
from gateway.store.admin_tokens import AdminTokens
from gateway.store.audit_trail import AuditTrail, name_local_actor
from gateway.store.audits import AuditLog
from gateway.store.awaited_usage import AwaitedUsages
from gateway.store.certifications import CertificationStore
from gateway.store.database import Database
from gateway.store.decision_log import DecisionLog
from gateway.store.forgets import ForgetRequests
from gateway.store.health import check_not_lost, mark_keys_made
from gateway.store.home import Home
from gateway.store.imports import ImportLog
from gateway.store.interventions import Interventions
from gateway.store.keys import KeyStore
from gateway.store.objects import ObjectStore
from gateway.store.pins import PinStore
from gateway.store.preferences import PreferenceStore
from gateway.store.reviews import ReviewStore
from gateway.store.spend import SpendLog
from gateway.store.tasks import TaskStore
from gateway.store.templates import TemplateStore

logger = logging.getLogger(__name__)


class State:
    """Everything that the processes of one home agree on: keys, certifications, tasks, audits, spend."""

    def __init__(
        self,
        database: Database,
        keys: Database | None = None,
        open_decisions: Callable[[], Database] | None = None,
    ) -> None:
        """`keys` is a connection for the keys alone: a revoked key waits for nothing else's write.

        `open_decisions` opens the file of the decisions, by default `database`.
        """
        self.database = database
        self._keys_database = keys
        self.keys = KeyStore(keys or database, SteadyClock())
        self.trail = AuditTrail(database)
        self.key_trail = AuditTrail(keys or database)
        """The same trail, for changes of keys: over their connection, to be part of their transaction."""
        self.admin_tokens = AdminTokens(database)
        self.preferences = PreferenceStore(database)
        self.certifications = CertificationStore(database)
        self.tasks = TaskStore(database)
        self.templates = TemplateStore(database)
        self.interventions = Interventions(database)
        self.audits = AuditLog(database)
        self.spend = SpendLog(database)
        self.decisions = DecisionLog(open_decisions or (lambda: database))
        self.awaited_usage = AwaitedUsages(database)
        self.objects = ObjectStore(database)
        self.reviews = ReviewStore(database)
        self.pins = PinStore(database)
        self.imports = ImportLog(database)
        self.forgets = ForgetRequests(database)

    def write_last(self) -> dict[str, int]:
        """Write what waits before the process ends; return how much of each kind the disk did not take."""
        lost = {}
        stores = (
            ("decision records", self.decisions),
            ("audits", self.audits),
            ("owners of objects", self.objects),
            ("feedback", self.reviews),
        )
        for name, store in stores:
            with suppress(sqlite3.Error, ConfigError):
                store.flush()
            lost[name] = store.give_up()
        return lost

    def close(self) -> None:
        """Write what waits, if the disk takes it, then close the database."""
        for flush in (self.audits.flush, self.objects.flush, self.reviews.flush, self.decisions.close):
            try:
                flush()
            except (sqlite3.Error, ConfigError) as exc:
                logger.error("%s failed at the end: %s", flush.__qualname__, exc)
        if self._keys_database:
            self._keys_database.close()
        self.database.close()


@contextmanager
def open_state(home: Home) -> Iterator[State]:
    """Give the stores of `home`; makes the folder if it is new. Raises ConfigError, in one line."""
    home.make()
    check_not_lost(home)
    with ExitStack() as stack:
        try:
            database = Database(home.state_db, may_detach=True)
            keys = Database(home.state_db, may_detach=True)
            state = State(database, keys, lambda: Database(home.decisions_db))
        except sqlite3.DatabaseError as exc:
            raise ConfigError(f"{home.state_db}: {exc}; `stepdown doctor` tells more") from exc
        stack.callback(state.close)
        try:
            yield state
        except sqlite3.OperationalError as exc:
            # A full disk, or a lock held for long. Every change is a transaction: it was made whole or not.
            raise StepdownError(f"{home.state_db}: {exc}; nothing was changed") from exc
        if state.keys.all():
            mark_keys_made(home)


def record_change(home: Home, action: str, subject: str = "", **facts: object) -> None:
    """Add an entry to the audit trail of `home` for a command that is about to change more than its database.

    Raises ConfigError or StepdownError if it cannot be kept: then the command does nothing.
    """
    with open_state(home) as state:
        state.trail.add(name_local_actor(), action, subject, **facts)
