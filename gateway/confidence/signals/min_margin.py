"""The smallest margin between a chosen token and its runner-up: the weakest step of the answer.

Source: Ramirez et al. 2024, "Optimising calls to large language models with uncertainty-based
two-tier selection", arXiv 2405.02134. AUROC: SNIPS as JSON .869, nl2regex .889.
"""

from __future__ import annotations

from gateway.core import Draft


def measure(draft: Draft) -> float | None:
    """Return the margin in nats, at most 10 since more says nothing; None without a trace."""
    if draft.trace is None or not draft.trace.margins:
        return None
    return min(10.0, *draft.trace.margins)
