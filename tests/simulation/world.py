"""One run: workers, clients and faults, all drawn from one seed."""

from __future__ import annotations

import asyncio
import logging
import random
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import msgspec

from gateway.core import Limits
from gateway.finops.price_list import PriceList
from gateway.policy.schema import AuditShares, Policy
from gateway.routing.base import task_name
from gateway.store.database import Database
from gateway.store.key_tables import KeyTerms
from gateway.store.shared_counters import create_counters
from gateway.store.state import State
from gateway.wire.chat.request import read_chat
from tests.simulation.client import Client, write_body
from tests.simulation.history import Exchange, History
from tests.simulation.loop import BEGINS_AT, SimulatedLoop, StalledError
from tests.simulation.specialist import SeededDrafter
from tests.simulation.teacher import SeededTeacher
from tests.simulation.text import question
from tests.simulation.worker import SimulatedWorker
from tests.support.builders import NOON, certificate, certified, incoming

WORKERS = 2
REQUESTS = 16
TRAFFIC_S = 4.0
THRESHOLDS = {"new": 0.5, "learnt": 0.2}
LIMITS = {
    "ann": Limits(requests_per_minute=4, concurrent_requests=2),
    "bob": Limits(tokens_per_minute=4_000, usd_per_day=0.15),
    "eve": Limits(),
}
TENANTS = {"ann": "acme", "bob": "acme", "eve": "evil"}
REFRESH_S = 0.25
BUSY_S = 10.0
LATER_REFRESH_S = 5.0
"""For the rest of the run, in which little happens."""
OVER_S = 60.0

Event = Coroutine[Any, Any, None]


class SimulatedDisk(Database):
    """A database whose disk is full while `is_full`."""

    is_full = False

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """See Database."""
        if self.is_full:
            raise sqlite3.OperationalError("database or disk is full")
        with super().write() as connection:
            yield connection


class World:
    """Everything in one run; `run` it once."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.choices = random.Random(seed)
        self.loop = SimulatedLoop(self.choices)
        self.by_task: dict[int, Exchange] = {}
        self.wall_offset = NOON - self.loop.time()
        self.disk = SimulatedDisk(folder / "state.db")
        self.state = State(self.disk)
        self.drafter = SeededDrafter(self.choices, self.note)
        self.teacher = SeededTeacher(self.choices, self.note)
        tasks = {
            tenant: task_name(_template(), f"tenant:{tenant}") for tenant in dict.fromkeys(TENANTS.values())
        }
        drain_s, policy_usd = self.choices.choice((0.5, 2.0)), self.choices.choice((0.15, 0.3, 5.0))
        self.history = History(seed, LIMITS, TENANTS, tasks, THRESHOLDS, policy_usd, drain_s)
        self.history.calls, self.history.with_bug = self.teacher.calls, self.drafter.with_bug
        self._adopt_tasks()
        self.keys = {name: self._create_key(name) for name in LIMITS}
        create_counters(folder / "counters", WORKERS)
        policies = [
            Policy(name="paid", models=("giant",), usd_per_day=policy_usd, usage="ask",
                   audit=AuditShares(settling=0.3, certified=0.3),
                   hedge_ms=self.choices.choice((None, 0, 50))),
        ]  # fmt: skip
        self.workers = [
            SimulatedWorker(self, number, policies, folder / "counters") for number in range(WORKERS)
        ]

    def note(self, event: str) -> None:
        """Add `event` to the trace."""
        self.history.trace.append(f"{self.loop.time() - BEGINS_AT:9.4f} {event}")

    def wall(self) -> float:
        """Return the wall clock, which may jump."""
        return self.loop.time() + self.wall_offset

    def run(self) -> History:
        """Return what happened until everything was over."""
        self.loop.set_exception_handler(lambda _, context: self.history.faults.append(str(context)))
        try:
            self.loop.run_until_complete(self._live())
        except StalledError as exc:
            self.history.faults.append(str(exc))
        finally:
            # A run that fails leaves tasks behind: nothing of them may reach another run.
            with suppress(Exception):
                self.loop.run_until_complete(_cancel_others())
            self.loop.close()
            for worker in self.workers:
                worker.counters.close()
            self.state.close()
        return self.history

    async def _live(self) -> None:
        refreshing = asyncio.create_task(self._refresh(), name="refresh")
        happenings = [asyncio.create_task(each, name="event") for each in self._draw_events()]
        clients = [asyncio.create_task(self._send_request(number)) for number in range(REQUESTS)]
        await asyncio.gather(*clients, *happenings)
        # Late drafts, hedges broken off, rows that wait for the disk.
        await asyncio.sleep(OVER_S)
        refreshing.cancel()
        for worker in self.workers:
            worker.finish()
        self.history.ledger_usd = sum(sums.usd for _, sums in self.state.spend.entries())
        self.history.open_streams = self.drafter.open_streams
        paid = self.workers[0].key_limits.spend["day"]
        bob = self.state.keys.find("bob")
        assert bob is not None
        self.history.spent_usd = {"policy paid": paid.spent("policy paid"), "bob": paid.spent(bob.id)}

    async def _send_request(self, number: int) -> None:
        choices = self.choices
        is_streamed = choices.random() < 0.6
        exchange = Exchange(number, choices.randrange(WORKERS), choices.choice(list(LIMITS)), is_streamed)
        client = Client(exchange, self.keys[exchange.key], choices, self.note)
        begins_s = choices.uniform(0, TRAFFIC_S)
        self.history.exchanges.append(exchange)
        await asyncio.sleep(begins_s)
        await client.call(self.workers[exchange.worker])

    def _draw_events(self) -> Iterator[Event]:
        choices, events = self.choices, (self._give_alarm, self._fill_disk, self._set_clock, self._revoke_key)
        for event in events:
            at = choices.uniform(0, TRAFFIC_S)
            if choices.random() < 0.4:
                yield self._happen(at, event)
        for worker in self.workers:
            at = choices.uniform(TRAFFIC_S / 2, TRAFFIC_S)
            if choices.random() < 0.4:
                yield worker.end(at, choices.choice((0.0, 0.5)))

    async def _happen(self, at: float, event: Callable[[], Event]) -> None:
        await asyncio.sleep(at)
        await event()

    async def _give_alarm(self) -> None:
        task = self.history.tasks["acme"]
        alarmed = certified(task, stage="alarm", threshold=None)
        while True:
            with suppress(sqlite3.OperationalError):
                self.state.certifications.put(msgspec.structs.replace(alarmed, epoch=1))
                break
            await asyncio.sleep(0.1)
        self.history.alarms[task] = self.loop.time()
        self.note("alarm for acme's task")

    async def _fill_disk(self) -> None:
        self.disk.is_full = True
        self.note("the disk is full")
        await asyncio.sleep(self.choices.uniform(0.5, 10))
        self.disk.is_full = False
        self.note("there is room on the disk")

    async def _set_clock(self) -> None:
        step_s = self.choices.choice((-3600.0, -5.0, 5.0, 3600.0))
        self.wall_offset += step_s
        self.note(f"the clock is set by {step_s:+.0f} s")

    async def _revoke_key(self) -> None:
        eve = self.state.keys.find("eve")
        assert eve is not None
        with suppress(sqlite3.OperationalError):
            self.state.keys.revoke(eve.id)
            self.note("eve's key is revoked")

    async def _refresh(self) -> None:
        """Do what a worker's background tasks do, every quarter of a second."""
        while True:
            for worker in self.workers:
                worker.refresh()
            is_busy = self.loop.time() < BEGINS_AT + BUSY_S
            await asyncio.sleep(REFRESH_S if is_busy else LATER_REFRESH_S)

    def _adopt_tasks(self) -> None:
        for tenant, task in self.history.tasks.items():
            facts = {"contract_hash": "c", "template_text": "t", "vector": b"", "model": "giant"}
            self.state.tasks.put(task, scope=f"tenant:{tenant}", **facts)  # type: ignore[arg-type]
            certificates = tuple(
                certificate(stratum=stratum, threshold=bar) for stratum, bar in THRESHOLDS.items()
            )
            certification = msgspec.structs.replace(certified(task), certificates=certificates)
            self.state.certifications.put(certification)

    def _create_key(self, name: str) -> str:
        terms = KeyTerms(limits=LIMITS[name], is_trusted=True)
        return self.state.keys.create(name, tenant=TENANTS[name], terms=terms)[1]


def simulate(seed: int) -> History:
    """Return the history of the run with that seed."""
    folder = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with patch(
            "gateway.finops.prices._read_list", lambda: PriceList(b'[{"id": "openai", "models": []}]')
        ):
            world = World(seed, folder)
            with patch("time.time", world.wall), patch("time.monotonic", world.loop.time):
                return world.run()
    finally:
        logging.disable(level)
        shutil.rmtree(folder)


async def _cancel_others() -> None:
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


def _template() -> str:
    """Return the template that all requests of the simulation have in common."""
    return read_chat(incoming(body=write_body(question(0), is_streamed=False, max_tokens=None))).template
