"""The margin of the first token: an answer that begins in doubt is about the wrong thing.

Source: Mahaut et al. 2024, arXiv 2406.13415, first-token probability as confidence.
AUROC: SNIPS as JSON .571, nl2regex .849.
"""

from __future__ import annotations

from gateway.core import Draft


def measure(draft: Draft) -> float | None:
    """Return the margin in nats, at most 10; None without a trace."""
    if draft.trace is None or not draft.trace.margins:
        return None
    return min(10.0, draft.trace.margins[0])
