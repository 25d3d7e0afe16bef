"""From a draft's confidence signals to one score: the small deferral head of a version."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from gateway.config import plugins
from gateway.core import Deferral, Draft

SIGNALS = "gateway.confidence.signals"

Signal = Callable[[Draft], float | None]
"""A confidence signal: higher is surer; None when the draft lacks what it is made from."""


def signals() -> dict[str, Signal]:
    """Return every signal by its name."""
    modules = {name: plugins.load_plugin(SIGNALS, name) for name in plugins.list_plugins(SIGNALS)}
    return {name: module.create(module.Config()) for name, module in modules.items()}


class Scorer:
    """Gives drafts the score which their version's certificate speaks of."""

    def __init__(self) -> None:
        self._signals = signals()

    def read(self, draft: Draft) -> Mapping[str, float]:
        """Return the signals which `draft` has."""
        values = {name: signal(draft) for name, signal in self._signals.items()}
        return {name: value for name, value in values.items() if value is not None}

    def score(self, draft: Draft, deferral: Deferral | None) -> float:
        """Return the score of `draft`, 0..1: its runtime's own without a deferral head.

        A draft which lacks a signal with a weight scores 0: it was never seen like this. So does
        every draft when the signal itself is gone since the head was fitted.
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
        # Of what is no number min and max would make the surest score there is.
        return 1.0 / (1.0 + math.exp(-max(-60.0, min(60.0, total)))) if math.isfinite(total) else 0.0
