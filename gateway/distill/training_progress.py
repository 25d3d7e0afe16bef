"""How many rows a task's last version had seen, kept in the manifest of each version."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from gateway.registry.manifest import Manifest


class TrainingProgress(msgspec.Struct, frozen=True, kw_only=True):
    """A version's recipe, and the rows before it, counted since the alarm that began its epoch."""

    epoch: int = 0
    training: int = 0
    held_out: int = 0
    verdicts: int = 0
    """How often reviewers had changed what may be learnt."""
    recipe: str = ""

    @classmethod
    def of(cls, metrics: Mapping[str, float], recipe: str) -> TrainingProgress:
        """Return the progress that a manifest's `metrics` hold."""
        return cls(**{name: int(metrics.get(name, 0)) for name in _COUNTED}, recipe=recipe)

    def metrics(self) -> dict[str, float]:
        """Return it as a manifest holds it."""
        return {name: float(getattr(self, name)) for name in _COUNTED}


def read_progress(manifest: Manifest | None) -> TrainingProgress:
    """Return what a version had seen, by its manifest; nothing without one."""
    return TrainingProgress.of(manifest.metrics, manifest.recipe) if manifest else TrainingProgress()


_COUNTED = ("epoch", "training", "held_out", "verdicts")
