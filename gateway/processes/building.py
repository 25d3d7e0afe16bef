"""The builder of versions for a home folder: recipes, an encoder of its own, what measures a version."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from gateway.config.plugins import load_plugin
from gateway.config.typed import build_config
from gateway.core import Footprint
from gateway.distill.base import Recipe
from gateway.distill.cached_encoder import CachedEncoder
from gateway.distill.version_builder import VersionBuilder
from gateway.processes.registry_access import open_registry
from gateway.settings import Settings
from gateway.specialists.encoders import create_encoder
from gateway.specialists.engine.pool import EnginePool
from gateway.specialists.measuring import TEXTS, MeasuredVersion, measure_footprint
from gateway.specialists.remote.pool import RemoteEngines
from gateway.specialists.runtimes import open_runtime
from gateway.specialists.shared_resources import SharedResources


def create_builder(settings: Settings, resources: SharedResources | None = None) -> VersionBuilder:
    """Return the builder of versions, with an encoder of its own unless `resources` are given."""
    learn = settings.learn
    registry, shared = open_registry(settings), resources or open_resources(settings)
    return VersionBuilder(
        recipes=[create_recipe(name, learn.options.get(name, {})) for name in learn.recipes],
        registry=registry,
        open_runtime=lambda name, folder: open_runtime(name, folder, shared),
        measure=lambda name, folder, texts: _measure(settings, name, folder, texts),
        resources=shared,
        workspaces=settings.home.learn,
        config=learn,
    )


def create_recipe(name: str, options: dict[str, Any]) -> Recipe:
    """Return the recipe `name`. Raises ConfigError for an unknown name or option."""
    module = load_plugin("gateway.distill.recipes", name)
    recipe: Recipe = module.create(build_config(module.Config, options, f"learn.options.{name}"))
    return recipe


def open_resources(settings: Settings) -> SharedResources:
    """Return what specialists share here; the encoder remembers what it has encoded."""
    specialists = settings.specialists
    options = msgspec.json.encode(specialists.encoder_options)
    return SharedResources(
        CachedEncoder(create_encoder(specialists.encoder, options)),
        EnginePool(settings.home.models, specialists.memory_mb),
        RemoteEngines(specialists.engines),
    )


def _measure(settings: Settings, runtime: str, folder: Path, texts: Sequence[str]) -> Footprint | None:
    specialists = settings.specialists
    measured = MeasuredVersion(
        runtime=runtime,
        folder=str(folder),
        texts=texts[:TEXTS],
        encoder=specialists.encoder,
        encoder_options=specialists.encoder_options,
        models=str(settings.home.models),
        memory_mb=specialists.memory_mb,
        engines=specialists.engines,
    )
    return measure_footprint(measured)
