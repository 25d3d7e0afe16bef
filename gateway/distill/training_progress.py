"""How many rows a task's last version had seen, kept in the manifest of each version."""

from __future__ import annotations

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
    version: int = 0
    """The one whose manifest it was read from; 0 if none was."""

    @classmethod
    def of(cls, manifest: Manifest) -> TrainingProgress:
        """Return the progress that a version's manifest holds."""
        counts = {name: int(manifest.metrics.get(name, 0)) for name in _COUNTED}
        return cls(**counts, recipe=manifest.recipe, version=manifest.version)

    def of_epoch(self, epoch: int) -> TrainingProgress:
        """Return it; where an alarm began a later epoch, that of one in which no rows came yet."""
        if self.epoch == epoch:
            return self
        return TrainingProgress(epoch=epoch, recipe=self.recipe, version=self.version)

    def metrics(self) -> dict[str, float]:
        """Return it as a manifest holds it."""
        return {name: float(getattr(self, name)) for name in _COUNTED}


_COUNTED = ("epoch", "training", "held_out", "verdicts")
