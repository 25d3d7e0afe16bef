"""The distance of the input to the nearest text that the specialist was trained on.

Source: Sun et al. 2022, "Out-of-distribution detection with deep nearest neighbors",
arXiv 2204.06507. AUROC: SNIPS as JSON .638, nl2regex .638.
"""

from __future__ import annotations

from gateway.core import Draft


def measure(draft: Draft) -> float | None:
    """Return the negative cosine distance, -2..0, nearer is surer; None without an embedding."""
    similarity = draft.evidence.get("similarity")
    return None if similarity is None else similarity - 1.0
