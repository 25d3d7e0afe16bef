"""Machines that share their state through a real Valkey, without their processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from gateway.sharing.base import AwayError, Config
from gateway.sharing.contact import Contact, ContactReport
from gateway.sharing.synchronizer import Synchronizer
from gateway.store.home import Home, read_audit_key, read_machine_name, read_place, replace_audit_key
from gateway.store.shared_counters import Counters, create_counters
from gateway.store.state import State, open_state
from tests.support.valkey import RunningValkey, running_valkey


class Machine:
    """One machine; nothing is exchanged until `sync`."""

    def __init__(self, home: Home, state: State, config: Config, *, policies: str = "same") -> None:
        self.home = home
        self.state = state
        self.reports: list[ContactReport] = []
        create_counters(home.counters, 2)
        self.counters = Counters(home.counters, 1)
        self.contact = Contact(self.counters, config)
        self.synchronizer = Synchronizer(
            config,
            state.database,
            self.contact,
            self.counters,
            machine=read_machine_name(home),
            place=read_place(home),
            policies=policies,
            audit_key=read_audit_key(home),
            adopt_audit_key=lambda key: replace_audit_key(home, key),
            report=self.reports.append,
        )

    def sync(self) -> None:
        """Exchange once, whatever the time."""
        self.synchronizer._beat_at = self.synchronizer._pull_at = 0.0
        self.synchronizer.step()
        state = self.state
        for store in (state.keys, state.certifications, state.interventions, state.tasks, state.templates):
            store.refresh()

    def try_sync(self) -> str:
        """Exchange once and return why it failed."""
        try:
            self.sync()
        except AwayError as exc:
            self.synchronizer._note_away(str(exc))
            return str(exc)
        return ""


@pytest.fixture
def valkey() -> Iterator[RunningValkey]:
    with running_valkey() as valkey:
        yield valkey


@pytest.fixture
def machine(valkey: RunningValkey, tmp_path: Path) -> Iterator[Callable[..., Machine]]:
    """Return machines by name; one that is asked for twice is the same home, started again."""
    with ExitStack() as stack:

        def create(name: str, config: Config | None = None, **options: str) -> Machine:
            home = Home(tmp_path / name)
            home.make()
            state = stack.enter_context(open_state(home))
            return Machine(home, state, config or Config(url=valkey.url), **options)

        yield create


def sync_all(*machines: Machine) -> None:
    """Let every machine send, and then every machine take in."""
    for each in machines * 2:
        each.sync()
