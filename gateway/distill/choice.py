"""What a task's next version learns, and how."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from gateway.core import Deferral, RiskTarget
from gateway.distill.base import EvalResult, Recipe
from gateway.harvest.base import Row


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """What to learn and how, and how a student of most of it did on the rest."""

    rows: Sequence[Row]
    recipe: Recipe
    validation: EvalResult
    deferral: Deferral | None = None
    targets: Sequence[RiskTarget] = ()
    """What the policies ask for; empty if the recipe need not know it any more."""

    def coverage_for(self, target: RiskTarget) -> float:
        """Return the share of requests that the student could serve within the risk of `target`."""
        return self.validation.by_agreement(target.agreement).coverage_at(target.alpha)
