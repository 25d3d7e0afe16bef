"""Runtimes of specialists, one file or folder each; its name is the manifest's `runtime`."""

from __future__ import annotations

from pathlib import Path

from gateway.config.plugins import load_plugin
from gateway.specialists.base import Runtime
from gateway.specialists.shared_resources import SharedResources


def open_runtime(name: str, folder: Path, resources: SharedResources) -> Runtime:
    """Return the specialist in `folder` at work. Reads its files.

    Raises ConfigError for an unknown name, RegistryError for files that it cannot read.
    """
    runtime: Runtime = load_plugin(__name__, name).create(folder, resources)
    return runtime
