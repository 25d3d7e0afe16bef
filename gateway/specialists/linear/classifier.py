"""The best answer of a linear classifier over a text's features, and how far it leads."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from gateway.specialists.knn import FloatMatrix, FloatVector
from gateway.specialists.linear.features import fold_codes


class BestAnswer(msgspec.Struct, frozen=True):
    """The column of an answer, its probability, and its lead over the next one."""

    answer: int
    probability: float
    margin: float


def choose_answer(
    dense: FloatVector, codes: Sequence[int], coefficients: FloatMatrix, intercept: FloatVector
) -> BestAnswer:
    """Return the choice for a text with the weighted vector `dense` and the n-grams of `codes`.

    `coefficients` is (feature_width(len(dense)), K) and `intercept` (K,), K >= 2.
    """
    logits = compute_logits(dense, codes, coefficients, intercept).astype(np.float64)
    powers = np.exp(logits - logits.max())
    probabilities = powers / powers.sum()
    second, first = np.partition(probabilities, -2)[-2:]
    return BestAnswer(int(probabilities.argmax()), float(first), float(first - second))


def compute_logits(
    dense: FloatVector, codes: Sequence[int], coefficients: FloatMatrix, intercept: FloatVector
) -> FloatVector:
    """Return the (K,) logits of the text that `choose_answer` would choose by."""
    size = len(dense)
    indices, values = fold_codes(codes)
    logits: FloatVector = dense @ coefficients[:size] + intercept
    return logits + values @ coefficients[size:][indices]
