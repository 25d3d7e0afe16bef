"""The lowest tenth of the token log-probabilities: robust to one odd token, unlike the minimum.

Source: Gupta et al. 2024, "Language model cascades: token-level uncertainty and beyond",
arXiv 2404.10136. AUROC: SNIPS as JSON .843, nl2regex .920.
"""

from __future__ import annotations

from gateway.core import Draft


def measure(draft: Draft) -> float | None:
    """Return the 10 % quantile in nats, at most 0; None without a trace."""
    if draft.trace is None or not draft.trace.logprobs:
        return None
    ranked = sorted(draft.trace.logprobs)
    return ranked[len(ranked) // 10]
