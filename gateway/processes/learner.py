"""The learner process: beside the gateway, turns the harvest into certified specialists."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from gateway.config import plugins
from gateway.core import Standing
from gateway.distill.base import Config, Event, Recipe, RiskTarget
from gateway.distill.cached_encoder import CachedEncoder
from gateway.distill.learner import Learner, Stores
from gateway.distill.version_builder import VersionBuilder
from gateway.errors import ConfigError, StepdownError
from gateway.harvest.reader import HarvestReader
from gateway.ipc.child_process import exit_with_parent, run_child
from gateway.policy.load import load_policies
from gateway.policy.planner import PolicyPlanner
from gateway.registry.models import Registry
from gateway.settings import Settings, read_settings
from gateway.specialists.base import Runtime, SharedResources
from gateway.specialists.client.client import HostClient
from gateway.specialists.encoding import create_encoder
from gateway.specialists.engine.pool import EnginePool
from gateway.store.database import Database
from gateway.store.home import Home
from gateway.store.learner_progress import write_learner_progress
from gateway.store.standings import StandingStore
from gateway.store.state import State, open_state
from gateway.telemetry.logs import configure

logger = logging.getLogger(__name__)

# Training is what nobody waits for: the gateway and the model host come first.
NICENESS = 5


def main(arguments: Sequence[str] | None = None) -> None:
    """Learn until SIGTERM, or until the parent is gone."""
    settings = read_settings(os.environ)
    configure(is_json=settings.server.log_format == "json")
    exit_with_parent()
    limit_threads()
    os.nice(NICENESS)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    harvest = HarvestReader(settings.home.harvest)
    with open_state(settings.home) as state:
        learner = create_learner(settings, state)
        while not stop.wait(settings.learn.interval_s):
            rows = sum(count.training + count.held_out for count in harvest.counts().values())
            for event in learn_once(settings, learner):
                logger.info("%s", describe(event))
            write_learner_progress(settings.home, rows)


def limit_threads() -> None:
    """Keep BLAS from fighting the gateway for the cores; call it before numpy is imported."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Torch's threads wait for each other asleep. Spinning, two of them on two busy cores took 11 s of
    # CPU and 25 s for a step of `lora_sft` which takes 1.5 and 2.1 so.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def create_learner(settings: Settings, state: State) -> Learner:
    """Return the learner of a home folder, with its own encoder."""
    home = settings.home
    specialists, learn = settings.specialists, settings.learn
    encoder = CachedEncoder(
        create_encoder(specialists.encoder, msgspec.json.encode(specialists.encoder_options))
    )
    resources = SharedResources(encoder, EnginePool(home.models, specialists.memory_mb))
    config = Config(
        adopt_rows=learn.adopt_rows,
        first_rows=learn.first_rows,
        growth=learn.growth,
        max_rows=learn.max_rows,
        seed=learn.seed,
    )
    registry = Registry(home.registry)
    stores = Stores(
        harvest=HarvestReader(home.harvest),
        registry=registry,
        standings=AnnouncedStandings(state.database, _announcer(home, registry)),
        tasks=state.tasks,
    )
    builder = VersionBuilder(
        recipes=[create_recipe(name, learn.options.get(name, {})) for name in learn.recipes],
        registry=registry,
        open_runtime=lambda name, folder: _runtime(name, folder, resources),
        resources=resources,
        workspaces=home.learn,
        config=config,
    )
    return Learner(stores, builder, encoder, _promise_of(settings), config)


def create_recipe(name: str, options: dict[str, Any]) -> Recipe:
    """Return the recipe `name`. Raises ConfigError for an unknown name or option."""
    module = plugins.load_plugin("gateway.distill.recipes", name)
    try:
        config = msgspec.convert(options, module.Config)
    except msgspec.ValidationError as error:
        raise ConfigError(f"learn.options.{name}: {error}") from error
    recipe: Recipe = module.create(config)
    return recipe


def learn_once(settings: Settings, learner: Learner) -> list[Event]:
    """Take one step, alone in this home: `stepdown learn run` and the background share the lock."""
    with _alone(settings.home):
        try:
            return learner.step()
        except (StepdownError, OSError) as fault:
            logger.error("learning failed and is tried again: %s", fault)
            return []


def describe(event: Event) -> str:
    """Return an event as one line."""
    version = f" v{event.version}" if event.version else ""
    return f"{event.task}{version} {event.kind}" + (f": {event.detail}" if event.detail else "")


class AnnouncedStandings(StandingStore):
    """Standings whose version the model host holds before anybody is sent to it."""

    def __init__(self, database: Database, announce: Callable[[Standing], None]) -> None:
        super().__init__(database)
        self._announce = announce

    def put_if(self, epoch: int, standing: Standing) -> bool:
        """See StandingStore; first loads the version where a host runs."""
        self._announce(standing)
        return super().put_if(epoch, standing)


def _announcer(home: Home, registry: Registry) -> Callable[[Standing], None]:
    async def load(standing: Standing) -> None:
        if standing.version is None:
            return
        client = HostClient(home.host_socket)
        try:
            # Without a host (`stepdown learn run` by hand) the workers load it when they start.
            if await client.open(wait_s=1.0):
                folder = registry.folder(standing.task, standing.version)
                await client.load(standing.task, standing.version, folder)
        finally:
            await client.close()

    def announce(standing: Standing) -> None:
        with suppress(StepdownError):
            asyncio.run(load(standing))

    return announce


def _promise_of(settings: Settings) -> Callable[[str], RiskTarget]:
    planner = PolicyPlanner(load_policies(settings.policies.folder), lambda _: 0.0)
    return lambda model: RiskTarget(*planner.risk_target(model))


@contextmanager
def _alone(home: Home) -> Iterator[None]:
    with home.learner_lock.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _runtime(name: str, folder: Path, resources: SharedResources) -> Runtime:
    runtime: Runtime = plugins.load_plugin("gateway.specialists.runtimes", name).create(folder, resources)
    return runtime


if __name__ == "__main__":
    run_child(main)
