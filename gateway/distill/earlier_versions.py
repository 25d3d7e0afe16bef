"""What the last version by a recipe says of the next: what it knows already, and whether it took too much."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from gateway.core import Footprint
from gateway.registry.manifest import Manifest
from gateway.registry.models import Registry

MeasureFootprint = Callable[[str, Path, Sequence[str]], Footprint | None]
"""What a runtime by this name takes for a folder of files, to draft for texts like these; None if that
cannot be measured. May take seconds."""


class EarlierVersions:
    """The published versions of every task, by the recipe that made them."""

    def __init__(self, registry: Registry, measure: MeasureFootprint) -> None:
        self._registry = registry
        self._measure = measure

    def find_folder(self, task: str, recipe: str) -> Path | None:
        """Return where the last version by `recipe` lies, None if there is none."""
        last = self._find_newest(task, recipe)
        return self._registry.folder(last.task, last.version) if last else None

    def find_excess(
        self, task: str, recipe: str, texts: Sequence[str], may_take: Callable[[Footprint], bool]
    ) -> Footprint | None:
        """Return what the last version by `recipe` took if it is too much, today as well; None if it is not.

        It is measured again: one busy minute of the machine must not end a recipe for ever. May take seconds.
        """
        last = self._find_newest(task, recipe)
        if last is None or last.footprint is None or may_take(last.footprint):
            return None
        now = self._measure(last.runtime, self._registry.folder(last.task, last.version), texts)
        return None if now and may_take(now) else last.footprint

    def _find_newest(self, task: str, recipe: str) -> Manifest | None:
        versions = reversed(self._registry.versions(task))
        manifests = (self._registry.read(task, version) for version in versions)
        return next((one for one in manifests if one.recipe == recipe), None)
