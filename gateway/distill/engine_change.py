"""What becomes of a version whose engine elsewhere runs another model than it was validated on."""

from __future__ import annotations

from pathlib import Path

from gateway.registry.manifest import Manifest
from gateway.specialists.remote.pool import RemoteEngines
from gateway.specialists.runtimes import openai


def describe_other_model(manifest: Manifest, folder: Path, engines: RemoteEngines) -> str:
    """Return why a version cannot serve on its engine any more; empty if it can, or has none.

    Raises RegistryError if its card is damaged or the settings name its engine no longer.
    """
    if manifest.runtime != "openai":
        return ""
    change = openai.describe_change(openai.read_card(folder), engines)
    return change and f"version {manifest.version} was validated on another model: {change}"
