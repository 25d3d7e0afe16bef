"""The mean log-probability of the answer's tokens: the length-normalised sequence likelihood.

Source: Murray and Chiang 2018, arXiv 1808.10006. AUROC: SNIPS as JSON .869, nl2regex .929.
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
        """Return it in nats, at most 0; None without a trace."""
        if draft.trace is None or not draft.trace.logprobs:
            return None
        return sum(draft.trace.logprobs) / len(draft.trace.logprobs)
