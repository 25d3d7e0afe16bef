"""A gateway worker put together from its own rooms; what it would do in threads happens in virtual time."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from gateway.api.app import create_app
from gateway.api.auth import Authenticator
from gateway.api.dependencies import ApiDependencies
from gateway.api.http.asgi import Receive, Scope, Send
from gateway.api.in_flight import InFlight
from gateway.api.under_way import OpenWork
from gateway.background.bounded_queue import BoundedQueue
from gateway.cascade.audit_sampler import StickySampler
from gateway.cascade.base import Stages
from gateway.cascade.serve import serve
from gateway.cascade.usage_asking import UsageAsker
from gateway.confidence.auditor import Auditor
from gateway.confidence.deferral import Scorer
from gateway.confidence.gate import Gate
from gateway.core import Certification, Draft, Outcome, Plan, Reading, Request, Route, Verdict
from gateway.core.steady_clock import SteadyClock
from gateway.finops.prices import Price
from gateway.harvest.base import Row
from gateway.harvest.gather import Gatherer
from gateway.harvest.outbox import Outbox
from gateway.policy.key_limits import Admission, KeyLimits
from gateway.policy.planner import PolicyPlanner
from gateway.policy.schema import Policy
from gateway.processes.accounting import Accounting
from gateway.processes.drain import LAST_WORDS_S, Drain
from gateway.routing.classifiers.fingerprint import FingerprintClassifier
from gateway.routing.router import TaskRouter
from gateway.settings import Settings
from gateway.store.keys import KeyFacts
from gateway.store.shared_counters import Counters
from gateway.telemetry.outcome_queue import OutcomeQueue
from tests.simulation import history
from tests.simulation.text import number_of

if TYPE_CHECKING:
    from tests.simulation.world import World

MOST_IN_FLIGHT = 8
SETTINGS = Settings(prices={"giant": Price(input_usd_per_mtok=0.0, output_usd_per_mtok=1000.0)})
"""A completion token costs a tenth of a cent."""


class SimulatedWorker:
    """One worker. What a process is to the outside stands in `serve`, `end`, `refresh` and `finish`."""

    def __init__(self, world: World, number: int, policies: Sequence[Policy], counters: Path) -> None:
        self.number = number
        self._world = world
        self._state = world.state
        self.counters = Counters(counters, number)
        self.key_limits = _NotedLimits(world, self.counters)
        self._accounting = Accounting(SETTINGS, world.state, policies, self.key_limits)
        self._policies = policies
        self.outbox = _SimulatedOutbox(world)
        observers = [
            self._accounting.ledger, Gatherer(self.outbox), Auditor(world.state.audits), self._note_outcome,
        ]  # fmt: skip
        self.outcomes = _SimulatedOutcomes(world, self._accounting.read_outcome, observers)
        self.open_work = OpenWork()
        self.in_flight = InFlight(MOST_IN_FLIGHT)
        # In the order of their beginning: a set would have another one in each process.
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._server: Any = SimpleNamespace(
            should_exit=False, server_state=SimpleNamespace(tasks=self._tasks)
        )
        stages = self._create_stages(world)
        keys = world.state.keys
        self._app = create_app(
            ApiDependencies(
                serve=lambda request: serve(request, stages),
                pass_through=_never,
                open_tunnel=_never,
                authenticator=Authenticator("keys", keys.find_by_hash, clock=world.loop.time),
                key_limits=self.key_limits,
                open_work=self.open_work,
                in_flight=self.in_flight,
                has_own_key=True,
            )
        )

    async def serve(self, exchange: history.Exchange, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request as the HTTP server does: in a task of its own, until its doors close."""
        if self._server.should_exit:
            exchange.was_at_closed_door = True
            return
        self._world.by_task[exchange.number] = exchange
        answering: Coroutine[Any, Any, None] = self._app(scope, receive, send)  # type: ignore[assignment]
        work = asyncio.create_task(answering, name=f"request {exchange.number}")
        self._tasks[work] = None
        await asyncio.wait((work,))
        del self._tasks[work]
        exchange.ended_at = asyncio.get_running_loop().time()
        if not work.cancelled() and (fault := work.exception()):
            self._world.note(f"request {exchange.number}: {type(fault).__name__}: {fault}")

    async def end(self, at: float, delay_s: float) -> None:
        """Get SIGTERM at that time; what is left long after is cancelled, as the server does."""
        await asyncio.sleep(at)
        drain = Drain(delay_s, self._world.history.drain_s)
        drain.begin()
        self._world.history.drains[self.number] = asyncio.get_running_loop().time() + delay_s
        self._world.note(f"worker {self.number} is told to end, doors close in {delay_s:g} s")
        await drain.end_server(self._server)
        await asyncio.sleep(LAST_WORDS_S)
        for task in list(self._tasks):
            task.cancel()

    def refresh(self) -> None:
        """Do what the worker's background tasks do from time to time."""
        with suppress(sqlite3.OperationalError):
            self._accounting.refresh()
        self._state.keys.refresh()
        self.open_work.end_invalid(lambda key_hash: self._state.keys.find_by_hash(key_hash) is not None)

    def finish(self) -> None:
        """Write what waits, and note what is left."""
        self._accounting.ledger.flush()
        spend = self.key_limits.spend["day"]
        keys = self._state.keys.all()
        names = ["policy paid", *(key.id for key in keys)]
        under_way = sum(self.counters.cell(f"{key.id}/under way").own for key in keys)
        self._world.history.leftovers.append(
            history.Leftovers(
                in_flight=self.in_flight.entered,
                by_caller=dict(self.in_flight._by_caller),
                under_way=under_way,
                reserved_usd={
                    name: spend.reserved(name) for name in names if abs(spend.reserved(name)) > 1e-9
                },
                waiting=self.outcomes.waiting + self.outbox.waiting + self._accounting.ledger.waiting,
            )
        )

    def _note_outcome(self, outcome: Outcome, reading: Reading) -> None:
        self._world.history.outcomes.append((outcome, reading))
        number = number_of(outcome.request.text)
        self._world.note(f"request {number}: outcome {outcome.decision} ({outcome.reason}), {outcome.status}")

    def _create_stages(self, world: World) -> Stages:
        accounting, state = self._accounting, world.state
        steady = SteadyClock(world.wall, world.loop.time)
        return Stages(
            planner=PolicyPlanner(self._policies, accounting.budgets.spent, has_own_key=True),
            router=TaskRouter([FingerprintClassifier(state.tasks)]),
            certifications=state.certifications,
            sampler=_NotedSampler(world),
            drafter=world.drafter,
            embed=_never,
            scorer=Scorer(),
            gate=_NotedGate(world, steady),
            teacher=world.teacher,
            observe=accounting.create_observer(self.outcomes),
            budgets=accounting.budgets,
            usage_asker=UsageAsker(world.loop.time),
            estimate_usage=accounting.tokens.estimate,
            budget_s=0.3,
        )


class _NotedLimits(KeyLimits):
    """Notes when each request was admitted."""

    def __init__(self, world: World, counters: Counters) -> None:
        super().__init__(counters, world.loop.time, world.wall)
        self._world = world

    def admit(self, key: KeyFacts, tokens: float, *, may_cost: bool = True) -> Admission | None:
        admission = super().admit(key, tokens, may_cost=may_cost)
        task = asyncio.current_task()
        assert task is not None
        self._world.by_task[number_of(task.get_name())].admitted_at = self._world.loop.time()
        return admission


class _NotedSampler(StickySampler):
    """Notes which requests were held out."""

    def __init__(self, world: World) -> None:
        super().__init__(b"key", world.wall)
        self._held_out = world.history.held_out

    def sample(
        self, request: Request, plan: Plan, certification: Certification, route: Route
    ) -> tuple[bool, float]:
        drawn = super().sample(request, plan, certification, route)
        if drawn[0]:
            self._held_out.add(number_of(request.text))
        return drawn


class _NotedGate(Gate):
    """Notes which drafts passed, and when."""

    def __init__(self, world: World, clock: SteadyClock) -> None:
        super().__init__(clock)
        self._world = world

    def judge_draft(
        self, draft: Draft, certification: Certification, request: Request, plan: Plan, route: Route
    ) -> Verdict:
        verdict = super().judge_draft(draft, certification, request, plan, route)
        if verdict.accepts:
            noted = history.Verdict(number_of(request.text), self._world.loop.time())
            self._world.history.verdicts.append(noted)
        return verdict


class _InVirtualTime(BoundedQueue[Any]):
    """A queue whose batches are handled by a timer of the loop in place of a thread."""

    _world: World

    def put(self, item: Any) -> bool:
        is_accepted = super().put(item)
        if is_accepted:
            self._world.loop.call_later(self._world.choices.random() * 0.02, self._handle_waiting)
        return is_accepted

    def _run(self) -> None:
        """The thread ends at once."""

    def _handle_waiting(self) -> None:
        batch, size = [], 0
        while waiting := not self._queue.empty() and self._queue.get():
            batch.append(waiting[0])
            size += waiting[1]
        if batch:
            self._settle(batch, size)


class _SimulatedOutcomes(_InVirtualTime, OutcomeQueue):
    """The outcomes of a worker."""

    def __init__(self, world: World, read: Callable[[Outcome], Reading], observers: Sequence[Any]) -> None:
        self._world = world
        super().__init__(read, observers)


class _SimulatedOutbox(_InVirtualTime, Outbox):
    """The harvest of a worker, on a disk that may be full: it is then tried again later."""

    def __init__(self, world: World) -> None:
        self._world = world
        super().__init__(Path("harvest"))

    def _handle_waiting(self) -> None:
        if self._world.disk.is_full:
            self._world.loop.call_later(self._retry_s, self._handle_waiting)
            return
        super()._handle_waiting()

    def _commit(self, batch: list[Row]) -> None:
        self._world.history.rows.extend(batch)


async def _never(*_: object) -> Any:
    raise NotImplementedError
