"""The gateway and its learner in one process, without HTTP: a replay of recorded pairs takes seconds.

Everything that decides is the gateway's own: `cascade.serve` with its planner, router, audit sampler,
drafts, gate and recorder, the auditor and the drift monitor, the rows of the harvest, the learner.
Replaced are the wire, the model host, the outbox (rows stay in memory) and the clock.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from gateway.api.auth import OPEN
from gateway.cascade.audit_sampler import StickySampler
from gateway.cascade.base import Stages
from gateway.cascade.serve import serve
from gateway.confidence.agreement import measure_loss
from gateway.confidence.auditor import Auditor
from gateway.confidence.deferral import Scorer
from gateway.confidence.drift import DriftMonitor
from gateway.confidence.gate import Gate
from gateway.confidence.summary import summarize_certification
from gateway.core import IncomingRequest, Outcome
from gateway.demo.replay import Served
from gateway.demo.tickets import Pair
from gateway.distill.learner import Learner
from gateway.distill.stores import Stores
from gateway.distill.version_builder import VersionBuilder
from gateway.finops.prices import PriceTable
from gateway.finops.pricing import Pricer
from gateway.finops.tokens import TokenEstimator
from gateway.harvest.base import Row
from gateway.harvest.gather import Gatherer
from gateway.policy.load import load_policies
from gateway.policy.planner import PolicyPlanner
from gateway.policy.prepared import CHAT
from gateway.processes.building import create_recipe
from gateway.processes.learner import describe_event
from gateway.registry.models import Registry
from gateway.routing.classifiers.fingerprint import FingerprintClassifier
from gateway.routing.router import TaskRouter
from gateway.settings import Learn, Specialists
from gateway.specialists.base import Encoder
from gateway.specialists.engine.pool import EnginePool
from gateway.specialists.host.loaded_models import LoadedModels
from gateway.specialists.runtimes import open_runtime
from gateway.specialists.shared_resources import SharedResources
from gateway.store.home import AUDIT_KEY_BYTES, Home
from gateway.store.state import State, open_state
from gateway.wire.chat.request import read_chat
from gateway.wire.surfaces import read_outcome
from loadtests.in_process.remembered import RememberedRecipe, TrainingMemory
from loadtests.in_process.stand_ins import LocalDrafter, MemoryHarvest, RecordedTeacher

PER_S = 100.0
"""Requests per second of the virtual clock: about what the replay over HTTP reaches."""
_BEGINS_AT = 4_000_000_000.0
"""Fixed, so that a seed gives the same run again; in the future, because `cascade.serve` asks the real
clock whether a certificate is in force. The learner lapses certificates by the virtual one."""
_ALARM_EVERY = 64
"""Requests between two looks at the audits; workers look every 0.25 s."""


class InProcessGateway:
    """One gateway with a recorded teacher; use `open_gateway`, which frees what it holds."""

    def __init__(
        self,
        home: Home,
        state: State,
        policies: Path,
        resources: SharedResources,
        learn: Learn,
        *,
        memory: TrainingMemory | None = None,
    ) -> None:
        harvest, registry = MemoryHarvest(home.harvest), Registry(home.registry)
        self._state = state
        self._harvest = harvest
        self._seed = learn.seed
        self._sent = 0
        self._outcome: asyncio.Future[Outcome] | None = None
        self._usd = self._counterfactual_usd = 0.0
        self._teacher = RecordedTeacher()
        self._drift_monitor = DriftMonitor(state.certifications, state.audits)
        self._observers = (Gatherer(harvest), Auditor(state.audits))
        tokens = TokenEstimator()
        self._pricer = Pricer(PriceTable(), tokens)
        planner = PolicyPlanner(load_policies(str(policies)), lambda _: 0.0)
        self._learner = Learner(
            Stores(
                harvest=harvest,
                registry=registry,
                certifications=state.certifications,
                tasks=state.tasks,
                templates=state.templates,
                reviews=state.reviews,
                pins=state.pins,
                imports=state.imports,
            ),
            _create_builder(home, registry, resources, learn, memory),
            resources.encoder,
            planner.requirements,
            learn,
            clock=self.now,
        )
        drafter = LocalDrafter(LoadedModels(resources), registry)
        self._stages = Stages(
            planner=planner,
            # One template a data set: no near copies that the embedding classifier would have to find.
            router=TaskRouter([FingerprintClassifier(state.tasks)]),
            certifications=state.certifications,
            sampler=StickySampler(audit_key(learn.seed), self.now),
            drafter=drafter,
            embed=drafter.embed_texts,
            scorer=Scorer(),
            gate=Gate(self.now),
            teacher=self._teacher,
            observe=self._observe,
            estimate_usage=tokens.estimate,
            budget_s=60.0,
        )

    def now(self) -> float:
        """Return the virtual time, in unix seconds."""
        return _BEGINS_AT + self._sent / PER_S

    async def answer_all(self, pairs: Sequence[Pair], model: str) -> list[Served]:
        """Return the answers to `pairs`, asked one after the other."""
        return [await self.answer(pair, model) for pair in pairs]

    async def answer(self, pair: Pair, model: str) -> Served:
        """Return who answered the messages of `pair` and what, as a client would see it."""
        number, begun = self._sent, time.perf_counter()
        self._outcome = asyncio.get_running_loop().create_future()
        body = msgspec.json.encode({"model": model, "messages": pair.messages})
        self._teacher.pairs = {pair.messages[-1]["content"]: pair.answer}
        reply = await serve(read_chat(_incoming(f"{self._seed}-{number}", body)), self._stages)
        async for _ in reply.body:
            pass
        outcome = await self._outcome  # it waits for the draft of an audit
        self._sent += 1
        if self._sent % _ALARM_EVERY == 0:
            self.watch()
        draft = outcome.draft if outcome.decision == "local" else None
        said = draft.text if draft else pair.answer
        return Served(
            number=number,
            served_by=f"{draft.task}@{draft.version}" if draft else "teacher",
            decision="local" if draft else "escalated",
            answer=said,
            agrees=measure_loss(pair.answer, said) == 0.0,
            latency_ms=(time.perf_counter() - begun) * 1000,
        )

    def import_rows(self, rows: Sequence[Row]) -> None:
        """Add `rows` to the harvest as `stepdown harvest import` does now, by the virtual clock."""
        for number, row in enumerate(rows):
            self._harvest.put(msgspec.structs.replace(row, at=self.now() + number * 1e-6))
        self._state.imports.add(Counter(row.task for row in rows))

    def watch(self) -> None:
        """Let the drift monitor look at the audits."""
        self._state.audits.flush()
        self._drift_monitor.refresh()

    def count_audits(self) -> int:
        """Return how many audits of drafts there were."""
        self._state.audits.flush()
        return len(self._state.audits.since(0))

    def is_in_alarm(self) -> bool:
        """Whether any task is."""
        return any(one.stage == "alarm" for one in self._state.certifications.all())

    def is_serving(self) -> bool:
        """Whether any certificate is in force."""
        return any(one.stage == "live" for one in self._state.certifications.all())

    def learn(self) -> list[str]:
        """Let the learner look at the harvest until it has nothing left to do; return what it did."""
        done = []
        while events := self._learner.step():
            done += [describe_event(event) for event in events]
        return done

    def status(self) -> dict[str, Any]:
        """Return the part of the gateway's status report that the figures are read from."""
        return {
            "costs": {"usd": self._usd, "counterfactual_usd": self._counterfactual_usd},
            "tasks": [summarize_certification(one, "") for one in self._state.certifications.all()],
        }

    def _observe(self, outcome: Outcome) -> None:
        outcome = msgspec.structs.replace(outcome, at=self.now())
        reading = self._pricer.add_cost(outcome, read_outcome(outcome))
        if reading.cost:
            self._usd += reading.cost.usd
            self._counterfactual_usd += reading.cost.counterfactual_usd
        for observe in self._observers:
            observe(outcome, reading)
        assert self._outcome is not None
        self._outcome.set_result(outcome)


def audit_key(seed: int) -> bytes:
    """Return the key of the audit sampler for a run with `seed`."""
    return b"%0*d" % (AUDIT_KEY_BYTES, seed)


@contextmanager
def open_gateway(
    policies: Path,
    encoder: Encoder,
    learn: Learn,
    models: Path | None = None,
    memory: TrainingMemory | None = None,
) -> Iterator[InProcessGateway]:
    """Give a new gateway that applies `policies`; `learn` holds the recipes and the seed.

    With `memory` nothing is trained that a gateway with the same memory has trained before.
    """
    with TemporaryDirectory(prefix="stepdown-") as folder:
        home = Home(Path(folder) / "home")
        home.make()
        if models:
            home.models.symlink_to(models.resolve())
        engines = EnginePool(home.models, Specialists().memory_mb)
        with open_state(home) as state, closing(engines):
            resources = SharedResources(encoder, engines)
            yield InProcessGateway(home, state, policies, resources, learn, memory=memory)


def _incoming(request_id: str, body: bytes) -> IncomingRequest:
    """Return a request as a gateway with `--open` takes it."""
    return IncomingRequest(
        id=request_id,
        caller=OPEN,
        tenant=OPEN,
        target=b"/v1/chat/completions",
        headers=((b"content-type", b"application/json"),),
        body=body,
        received_at=time.monotonic(),
        resource=CHAT,
    )


def _create_builder(
    home: Home, registry: Registry, resources: SharedResources, learn: Learn, memory: TrainingMemory | None
) -> VersionBuilder:
    recipes = [create_recipe(name, learn.options.get(name, {})) for name in learn.recipes]
    return VersionBuilder(
        recipes=[RememberedRecipe(recipe, memory) for recipe in recipes] if memory else recipes,
        registry=registry,
        open_runtime=lambda name, folder: open_runtime(name, folder, resources),
        resources=resources,
        workspaces=home.learn,
        config=learn,
    )
