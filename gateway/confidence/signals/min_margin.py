"""The smallest lead of a chosen token over its runner-up: the weakest step of the answer.

Source: Ramirez et al. 2024, "Optimising calls to large language models with uncertainty-based
two-tier selection", arXiv 2405.02134. AUROC: SNIPS as JSON .869, nl2regex .889.
"""

from __future__ import annotations

import msgspec

from gateway.core import Draft


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No settings."""


def create(config: Config) -> Signal:
    """Return the signal."""
    return Signal()


class Signal:
    """See the module."""

    def __call__(self, draft: Draft) -> float | None:
        """Return it in nats, cut at 10, where more says nothing; None without a trace."""
        if draft.trace is None or not draft.trace.margins:
            return None
        return min(10.0, *draft.trace.margins)
