"""The model that an engine elsewhere runs: when a version is made, and when it is another one since."""

from __future__ import annotations

from pathlib import Path

from gateway.errors import SpecialistError, TrainingError
from gateway.registry.manifest import Manifest
from gateway.specialists.remote.identity import Identity
from gateway.specialists.remote.pool import RemoteEngines
from gateway.specialists.runtimes import openai


def identify_engine(name: str, engines: RemoteEngines) -> Identity:
    """Return the model that an engine runs now. Raises TrainingError; RegistryError if it is unknown."""
    try:
        return engines.identify(name)
    except SpecialistError as exc:
        raise TrainingError(f"the engine {name!r} does not answer: {exc}") from exc


def describe_other_model(manifest: Manifest, folder: Path, engines: RemoteEngines) -> str:
    """Return why a version cannot serve on its engine any more; empty if it can, or has none.

    Raises RegistryError if its card is damaged or the settings name its engine no longer.
    """
    if manifest.runtime != "openai":
        return ""
    change = openai.describe_change(openai.read_card(folder), engines)
    return change and f"version {manifest.version} was validated on another model: {change}"
