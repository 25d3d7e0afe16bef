"""How far the input is from the nearest text which the specialist has learnt.

Source: Sun et al. 2022, "Out-of-distribution detection with deep nearest neighbors",
arXiv 2204.06507. AUROC: SNIPS as JSON .638, nl2regex .638.
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
        """Return the negative cosine distance, -2..0, nearer is surer; None without an embedding."""
        similarity = draft.evidence.get("similarity")
        return None if similarity is None else similarity - 1.0
