"""The composition root of a gateway worker: the only module that knows all of its rooms."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator
from typing import Any

from gateway.api.auth import Caller
from gateway.cascade.audit_sampler import StickySampler
from gateway.cascade.base import Stages
from gateway.cascade.passage import Tunnel, open_tunnel, pass_through
from gateway.cascade.serve import serve
from gateway.cascade.usage_asking import UsageAsker
from gateway.confidence.auditor import Auditor
from gateway.confidence.deferral import Scorer
from gateway.confidence.gate import Gate
from gateway.config.plugins import load_plugin
from gateway.config.typed import build_config
from gateway.core import OWN_PREFIX, Answer, Grant, Refusal, Request
from gateway.core.steady_clock import SteadyClock
from gateway.harvest.gather import Gatherer
from gateway.harvest.outbox import Outbox
from gateway.harvest.recent_answers import RecentAnswers
from gateway.policy.encoders import check_encoders, encoder_models
from gateway.policy.load import load_policies
from gateway.policy.ownership import ObjectOwnership, OwnerStore
from gateway.policy.planner import PolicyPlanner
from gateway.policy.teachers import check_teachers
from gateway.processes.accounting import Accounting
from gateway.processes.audit_key_watch import AuditKeyWatch
from gateway.processes.complaints import ComplaintWatch
from gateway.processes.feedback import create_feedback_taker
from gateway.processes.following import Following
from gateway.processes.key_watch import KeyWatch
from gateway.processes.loops import Chore
from gateway.processes.pruning import Pruning, read_retention
from gateway.processes.retirement_watch import RetirementWatch
from gateway.processes.teachers import combine_teachers, create_teachers, list_terms
from gateway.registry.models import Registry
from gateway.routing.base import Classifier, task_name
from gateway.routing.router import TaskRouter
from gateway.settings import Settings
from gateway.sharing.owners import FleetObjects, SharedOwners
from gateway.sharing.valkey import Valkey
from gateway.specialists.client.batch import BatchEmbedder
from gateway.specialists.client.client import HostClient
from gateway.store.decision_record import refusal_record
from gateway.store.home import read_audit_key, read_machine_name
from gateway.store.state import State
from gateway.store.tasks import Task
from gateway.telemetry.exporters import Exporters
from gateway.telemetry.metrics import Metrics, Probe
from gateway.telemetry.otel_env import read_otel_env
from gateway.telemetry.outcome_queue import Observe, OutcomeQueue
from gateway.telemetry.shared_sums import SharedSums

logger = logging.getLogger(__name__)

OWNERS_S = 0.25
"""The longest that a request waits for the owner of an object that another machine made."""


class GatewayWorker:
    """The rooms of one gateway process. `start` and `stop` it in the loop that serves."""

    def __init__(
        self,
        settings: Settings,
        state: State,
        number: int,
        *,
        sums: SharedSums | None = None,
        instance: str = "",
    ) -> None:
        home = settings.home
        policies = load_policies(settings.policies.folder)
        self._policies = policies
        check_encoders(policies, settings.specialists.encoder)
        self.settings = settings
        self.state = state
        self.registry = Registry(home.registry)
        self.teachers = create_teachers(settings, instance)
        names = [teacher.name for teacher in self.teachers]
        check_teachers(policies, names)
        self.teacher = combine_teachers(self.teachers, settings)
        self.drafter = HostClient(home.host_socket)
        self.outbox = Outbox(home.worker_rows(number), settings.harvest)
        user_key = read_audit_key(home)
        self._recent = RecentAnswers(settings.harvest.recent_mb << 20, user_key=user_key)
        self.keys = KeyWatch(state.keys, home, number, settings.state)
        self.take_feedback = create_feedback_taker(state.reviews, policies)
        # One process is enough: it prunes the files of all, and asks the teachers for all.
        pruning = Pruning(home.harvest, read_retention(settings.harvest, policies))
        complaints = ComplaintWatch(state.reviews, self._recent, self.outbox)
        self._chores: tuple[Chore, ...] = (
            (complaints, pruning, RetirementWatch(settings, self.teachers)) if number == 0 else (complaints,)
        )
        self._accounting = Accounting(settings, state, policies, self.keys.limits)
        self.ledger = self._accounting.ledger
        self.exporters = Exporters(
            read_otel_env(os.environ),
            f"{home.folder}/worker-{number}",
            provider=settings.upstream.provider,
            base_url=settings.upstream.base_url,
        )
        self.metrics = Metrics(
            [*self._create_probes(), *self.exporters.list_probes()],
            state.certifications.all,
            self._accounting.list_left,
            sums,
            self.teachers,
        )
        self.outcomes = OutcomeQueue(self._accounting.read_outcome, self._create_observers())
        self.following = self._create_following()
        self._sampler = StickySampler(read_audit_key(home))
        if self.keys.contact:
            self._chores = (*self._chores, AuditKeyWatch(home, self._sampler.adopt))
        self._encoders = encoder_models(policies)
        self._planner = self._create_planner(names[0])
        self.stages = self._create_stages()

    async def serve(self, request: Request) -> Answer:
        """Return the answer to `request`; see cascade.serve."""
        return await serve(request, self.stages)

    async def pass_through(self, request: Request, body: bytes | AsyncIterator[bytes]) -> Answer:
        """Return the teacher's answer to `request`; see cascade.passage."""
        return await pass_through(request, body, self.stages)

    async def open_tunnel(self, request: Request) -> Tunnel:
        """Return the teacher's reply to the handshake of a websocket; see cascade.passage."""
        return await open_tunnel(request, self.stages)

    def record_refusal(self, refusal: Refusal) -> None:
        """Keep a record of a request that was refused; never blocks."""
        self.state.decisions.put(refusal_record(refusal, time.time()))

    async def start(self) -> None:
        """Connect to the model host, and begin to follow what other processes decide."""
        await self.drafter.open()
        self.keys.start()
        self.following.start()
        for chore in self._chores:
            chore.start()

    async def stop(self) -> None:
        """Let every Outcome reach its observers, then free everything."""
        await self.following.stop()
        for chore in self._chores:
            await chore.stop()
        await self.keys.stop()
        await self.drafter.close()
        await self.teacher.close()
        await asyncio.to_thread(self._drain)

    def own_models(self, caller: Caller) -> list[str]:
        """Return the names by which `caller` may ask for our specialists and encoder, sorted.

        A specialist has two: its task's name, which may change, and its task's id, which never does.
        """
        listed = set(self._encoders)
        for task in self._list_served():
            names = (OWN_PREFIX + self.state.tasks.names.of(task.task), OWN_PREFIX + task.task)
            listed.update(name for name in names if self._sees(caller, task, name))
        return sorted(listed)

    def _list_served(self) -> list[Task]:
        state = self.state
        live = {one.task for one in state.certifications.all() if one.stage == "live"}
        return [
            task
            for task in state.tasks.all()
            if task.task in live and not state.interventions.is_frozen(task.task)
        ]

    def _sees(self, caller: Caller, task: Task, name: str) -> bool:
        """Whether requests of `caller` for the model `name` would be served from the task's scope."""
        grant = caller.key.grant if caller.key else Grant()
        if not (grant.allows_model(task.model) and grant.allows_model(name)):
            return False
        return self._planner.scope(name, caller.id, caller.tenant, grant) == task.scope

    def _create_following(self) -> Following:
        contact = self.keys.contact
        return Following(
            self.state,
            refresh_accounts=self._accounting.refresh,
            metrics=self.metrics,
            drafter=self.drafter,
            registry=self.registry,
            stale_after_s=self.settings.server.stale_after_s,
            contact=contact,
            machine=read_machine_name(self.settings.home) if contact else "",
            is_pulling=self.settings.registry.storage is not None,
        )

    def _create_observers(self) -> list[Observe]:
        gatherer = Gatherer(self.outbox, user_key=read_audit_key(self.settings.home), name_task=task_name)
        gather: list[Observe] = [gatherer, self._recent] if self.settings.harvest.enabled else []
        return [self.metrics, self.ledger, *gather, Auditor(self.state.audits), *self.exporters.observers]

    def _create_planner(self, first_teacher: str) -> PolicyPlanner:
        return PolicyPlanner(
            self._policies,
            self._accounting.budgets.spent,
            has_own_key=self.settings.upstream.api_key is not None,
            first_teacher=first_teacher,
            terms=list_terms(self.settings),
            constraints=self.settings.specialists.limits,
        )

    def _create_stages(self) -> Stages:
        settings, accounting = self.settings, self._accounting
        return Stages(
            planner=self._planner,
            router=TaskRouter(self._create_classifiers()),
            certifications=self.state.certifications,
            sampler=self._sampler,
            drafter=self.drafter,
            is_frozen=self.state.interventions.is_frozen,
            embed=BatchEmbedder(self.drafter, settings.specialists.budget_ms / 1000).embed_texts,
            scorer=Scorer(),
            gate=Gate(SteadyClock()),
            teacher=self.teacher,
            has_teachers=len(self.teachers) > 1,
            observe=accounting.create_observer(self.outcomes),
            budgets=accounting.budgets,
            usage_asker=UsageAsker(),
            teacher_headers=self.exporters.headers,
            # With `--open` all are one tenant, on the operator's own machine.
            ownership=ObjectOwnership(create_owners(settings, self.state))
            if settings.admission == "keys"
            else None,
            estimate_usage=accounting.tokens.estimate,
            budget_s=settings.specialists.budget_ms / 1000,
        )

    def _create_classifiers(self) -> list[Classifier]:
        routing = self.settings.routing
        return [
            create_classifier(name, routing.options.get(name, {}), self.state, self.drafter)
            for name in routing.classifiers
        ]

    def _create_probes(self) -> list[Probe]:
        return [
            Probe("outcomes_waiting", "Outcomes not yet observed.", lambda: self.outcomes.waiting),
            Probe("outcomes_dropped_total", "Outcomes lost to a full queue.", lambda: self.outcomes.dropped),
            Probe("harvest_rows_waiting", "Rows not yet durable.", lambda: self.outbox.waiting),
            Probe("harvest_rows_dropped_total", "Rows lost to a full queue.", lambda: self.outbox.dropped),
            Probe("audits_dropped_total", "Audits lost to a full queue.", lambda: self.state.audits.dropped),
            Probe("specialists_ready", "Workers that reach the model host.", lambda: self.drafter.is_ready),
            Probe(
                "workers_stale",
                "Workers that cannot read keys and certificates.",
                lambda: not self.following.is_fresh,
            ),
            Probe("objects_waiting", "Owners not yet on disk.", lambda: self.state.objects.waiting),
            Probe("objects_dropped_total", "Owners not noted.", lambda: self.state.objects.dropped),
            Probe("feedback_dropped_total", "Feedback not noted.", lambda: self.state.reviews.dropped),
            Probe(
                "observer_faults_total", "Outcomes that an observer failed on.", lambda: self.outcomes.faults
            ),
            *self._accounting.list_probes(),
            *self.keys.list_probes(),
        ]

    def _drain(self) -> None:
        self.outcomes.close()
        dropped = self.outbox.dropped
        self.outbox.close()
        lost = {"rows of the harvest": self.outbox.dropped - dropped}
        lost |= {"daily sums of dollars": self._accounting.write_last_sums(), **self.state.write_last()}
        if any(lost.values()):
            counts = ", ".join(f"{count} {name}" for name, count in lost.items() if count)
            logger.error("the disk did not take what waited at the end; lost: %s", counts)
        self.metrics.update_registry()
        self.exporters.close()


def create_owners(settings: Settings, state: State) -> OwnerStore:
    """Return where the owners of objects are kept."""
    if not settings.state.is_shared:
        return state.objects
    return FleetObjects(state.objects, SharedOwners(Valkey(settings.state, OWNERS_S)))


def create_classifier(name: str, options: dict[str, Any], state: State, drafter: HostClient) -> Classifier:
    """Return the classifier `name`. Raises ConfigError for an unknown name or option."""
    module = load_plugin("gateway.routing.classifiers", name)
    config = build_config(module.Config, options, f"routing.options.{name}")
    classifier: Classifier = module.create(config, state.tasks, state.templates, drafter)
    return classifier
