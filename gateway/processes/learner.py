"""The learner process: beside the gateway, turns the harvest into certified specialists."""

from __future__ import annotations

import atexit
import fcntl
import itertools
import logging
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import msgspec

from gateway.confidence.units import DAY_S
from gateway.core import Certification, RiskTarget
from gateway.distill.base import Event
from gateway.distill.judge import Judge
from gateway.distill.learner import Learner
from gateway.distill.preview import Preview, preview_targets
from gateway.distill.stores import Stores
from gateway.distill.task_rows import TaskRows
from gateway.errors import ConfigError, StepdownError
from gateway.ipc.child_process import exit_with_parent, run_child
from gateway.ipc.heartbeat import Heart
from gateway.policy.load import load_policies
from gateway.policy.planner import PolicyPlanner
from gateway.processes.building import create_builder, open_resources
from gateway.processes.harvest_access import open_harvest
from gateway.processes.preloading import PreloadingCertificationStore
from gateway.processes.registry_access import open_registry
from gateway.registry.models import Registry
from gateway.settings import Settings, read_settings
from gateway.sharing.election import Election
from gateway.sharing.mirror import SharedRows
from gateway.sharing.publication import Publication
from gateway.sharing.valkey import Valkey
from gateway.store.home import Home, read_machine_name
from gateway.store.learner_progress import write_learner_progress
from gateway.store.state import State, open_state
from gateway.telemetry.logs import configure_logging

logger = logging.getLogger(__name__)

# No client waits for training: the gateway comes first, and the model host, which is as nice, no later.
NICENESS = 10

AUDIT_DAYS = 90
"""Days that audits are kept: three windows of the default length."""
REVIEW_DAYS = 365
"""Days that verdicts and feedback are kept where rows have no limit."""
KEPT_VERSIONS = 5
"""The newest versions of a task, kept beside the one that drafts."""
ROUNDS_PER_PRUNING = 1_800
"""An hour at the default interval."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Learn until SIGTERM, or until the parent is gone."""
    settings = read_settings(os.environ)
    configure_logging(is_json=settings.server.log_format == "json")
    exit_with_parent()
    Heart(os.environ).beat_in_thread()
    limit_threads()
    os.nice(NICENESS)
    harvest, registry = open_harvest(settings), open_registry(settings)
    with open_state(settings.home) as state:
        learner = create_learner(settings, state)
        # At once, also amid a training: all that it leaves is whole, and what was published is judged next
        # time. Not before: amid the import of a library the exit would become that library's error.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        for round_number in itertools.count():
            time.sleep(settings.learn.interval_s)
            try:
                rows = sum(count.training + count.held_out for count in harvest.counts().values())
                for event in learn_once(settings, learner):
                    logger.info("%s", describe_event(event))
                write_learner_progress(settings.home, rows)
                if round_number % ROUNDS_PER_PRUNING == 0:
                    review_days = settings.harvest.keep_days or REVIEW_DAYS
                    prune_history(state, registry, time.time(), review_days, learner.is_ours)
            except (StepdownError, sqlite3.Error, OSError) as exc:
                # A full disk, or a file that is damaged or locked for long: what has been learnt is kept.
                logger.error("a round of learning failed and is tried again: %s", exc)


def prune_history(
    state: State,
    registry: Registry,
    now: float,
    review_days: float = REVIEW_DAYS,
    is_ours: Callable[[str], bool] = lambda _: True,
) -> None:
    """Delete audits and versions that no certificate can need again, and reviews of rows that are gone.

    Only versions of tasks that are `is_ours`: another machine's certificate may come here late.
    """
    # The learner and the alarms write through stores of their own.
    state.certifications.refresh()
    state.audits.prune(now - AUDIT_DAYS * DAY_S)
    state.objects.prune()
    state.reviews.prune(now - review_days * DAY_S)
    for task in filter(is_ours, registry.tasks()):
        certification = state.certifications.of(task)
        versions = registry.versions(task)
        needed = {certification.version, certification.judged_version, *versions[-KEPT_VERSIONS:]}
        for version in versions:
            if version not in needed:
                registry.delete(task, version)


def limit_threads() -> None:
    """Keep BLAS from competing with the gateway for the cores."""
    from threadpoolctl import threadpool_limits

    # What is imported above has loaded numpy, and its BLAS reads its variable only then. What is loaded later
    # reads these.
    threadpool_limits(1)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Torch's threads then sleep while they wait for each other. Spinning, two of them on two busy cores
    # took 11 s of CPU and 25 s for a step of `lora_sft` that takes 1.5 and 2.1 with this.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def create_learner(settings: Settings, state: State, *, by_hand: str = "") -> Learner:
    """Return the learner of a home folder, with its own encoder.

    `by_hand` is a task that an operator wants something done with: other machines leave it to this one.
    Raises AwayError if they cannot be told.
    """
    home = settings.home
    learn = settings.learn
    resources = open_resources(settings)
    registry = open_registry(settings)
    election = _create_election(settings)
    if election and by_hand:
        election.take_over(by_hand)
    stores = Stores(
        harvest=open_harvest(settings),
        registry=registry,
        certifications=PreloadingCertificationStore(
            state.database, home, registry, _create_publication(settings, state, election)
        ),
        tasks=state.tasks,
        templates=state.templates,
        reviews=state.reviews,
        pins=state.pins,
        imports=state.imports,
    )
    builder = create_builder(settings, resources)
    return Learner(
        stores,
        builder,
        resources.encoder,
        _create_planner(settings).requirements,
        learn,
        is_ours=election.is_ours if election else lambda _: True,
    )


def _create_election(settings: Settings) -> Election | None:
    """Return the vote on who learns what, where several machines share their state."""
    if not settings.state.is_shared:
        return None
    election = Election(Valkey(settings.state), read_machine_name(settings.home))
    election.start()
    atexit.register(election.resign)
    return election


def _create_publication(
    settings: Settings, state: State, election: Election | None
) -> Callable[[int, Certification], bool] | None:
    if election is None:
        return None
    return Publication(state.database, SharedRows(Valkey(settings.state)), election).put_if


def preview_alphas(settings: Settings, state: State, task: str, alphas: Sequence[float]) -> list[Preview]:
    """Return what the version that drafts for `task` could serve at other alphas; takes seconds to minutes.

    Raises ConfigError if there is none, RegistryError if it is damaged.
    """
    certification, known = state.certifications.of(task), state.tasks.get(task)
    if certification.version is None or known is None:
        raise ConfigError(f"{task} has no specialist yet")
    builder = create_builder(settings)
    strictest = min(_create_planner(settings).risk_targets(known.model), default=RiskTarget()).confirmed
    targets = [msgspec.structs.replace(strictest, alpha=alpha) for alpha in alphas]
    rows = TaskRows(task, settings.learn.max_rows, state.templates)
    rows.read(open_harvest(settings))
    with builder.open_version(task, certification.version, certification.digest) as candidate:
        return preview_targets(
            candidate, certification, Judge(settings.learn), rows.evidence(), targets, now=time.time()
        )


def learn_once(
    settings: Settings, learner: Learner, step: Callable[[], list[Event]] | None = None
) -> list[Event]:
    """Take one step, of all tasks unless `step` is given.

    A lock makes `stepdown learn run` and the learner process take turns.
    """
    with lock_learner(settings.home):
        try:
            return (step or learner.step)()
        except (StepdownError, sqlite3.Error, OSError) as exc:
            logger.error("learning failed and is tried again: %s", exc)
            return []


@contextmanager
def lock_learner(home: Home) -> Iterator[None]:
    """Let nothing else learn in this home until the block ends; blocks until nothing does."""
    with home.learner_lock.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def describe_event(event: Event) -> str:
    """Return an event as one line."""
    version = f" v{event.version}" if event.version else ""
    return f"{event.task}{version} {event.kind}" + (f": {event.detail}" if event.detail else "")


def _create_planner(settings: Settings) -> PolicyPlanner:
    """Return the planner that says what the policies ask of a model's specialists."""
    policies, limits = load_policies(settings.policies.folder), settings.specialists.limits
    return PolicyPlanner(policies, lambda _: 0.0, constraints=limits)


if __name__ == "__main__":
    run_child(main)
