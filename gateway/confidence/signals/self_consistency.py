"""The share of sampled answers which say what the greedy one says.

The runtime samples only in the grey zone, where a vote may change the decision; elsewhere there
is no such evidence. Source: Wang et al. 2022, arXiv 2203.11171; as deferral rule: Yue et al.
2023, arXiv 2310.03094. AUROC: see loadtests/README.md.
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
        """Return 0..1; None when nothing was sampled."""
        return draft.evidence.get("self_consistency")
