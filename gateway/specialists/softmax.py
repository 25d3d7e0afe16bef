"""Log-probabilities from logits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Logits = NDArray[np.float32]


def log_softmax(logits: Logits) -> Logits:
    """Return the natural logarithm of the softmax of `logits` over their last axis."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    logprobs: Logits = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return logprobs
