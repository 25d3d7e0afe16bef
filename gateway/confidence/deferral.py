"""The score of a draft: its confidence signals, weighted by its version's deferral head."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from gateway.config import plugins
from gateway.core import Deferral, Draft

SIGNALS = "gateway.confidence.signals"

Signal = Callable[[Draft], float | None]
"""A confidence signal: higher is surer; None if the draft lacks the data for it."""


def load_signals() -> dict[str, Signal]:
    """Return every signal by its name."""
    return {name: plugins.load_plugin(SIGNALS, name).measure for name in plugins.list_plugins(SIGNALS)}


class Scorer:
    """Gives drafts the score that their version's certificate is about."""

    def __init__(self) -> None:
        self._signals = load_signals()

    def read_signals(self, draft: Draft) -> Mapping[str, float]:
        """Return the signals that `draft` has."""
        values = {name: signal(draft) for name, signal in self._signals.items()}
        return {name: value for name, value in values.items() if value is not None}

    def score_draft(self, draft: Draft, deferral: Deferral | None) -> float:
        """Return the score of `draft`, 0..1; without a deferral head, its runtime's own score.

        A draft that lacks a weighted signal scores 0, because the head was not fitted on such drafts.
        So does every draft if a weighted signal no longer exists.
        """
        if deferral is None:
            return draft.score
        total = deferral.bias
        for name, weight in deferral.weights.items():
            signal = self._signals.get(name)
            value = signal(draft) if signal else None
            if value is None:
                return 0.0
            total += weight * value
        # min and max would turn NaN into the highest score.
        return 1.0 / (1.0 + math.exp(-max(-60.0, min(60.0, total)))) if math.isfinite(total) else 0.0
