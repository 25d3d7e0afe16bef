"""The lead of the first token: an answer which begins in doubt is about the wrong thing.

Source: Mahaut et al. 2024, arXiv 2406.13415, first-token probability as confidence.
AUROC: SNIPS as JSON .571, nl2regex .849.
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
        """Return it in nats, cut at 10; None without a trace."""
        if draft.trace is None or not draft.trace.margins:
            return None
        return min(10.0, draft.trace.margins[0])
