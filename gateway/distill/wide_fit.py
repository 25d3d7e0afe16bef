"""The logistic regression of very many answers, in less memory and time than scikit-learn takes.

At 1,000 answers a head has 17 million weights, and SciPy's L-BFGS, as scikit-learn calls it, works on 36
vectors of so many, 4.8 GB: a training took 5.2 GB. With fewer corrections it works on 22. The dense part of
the features is multiplied as such and not as if it were sparse. Objective and tolerance are the same.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

_CORRECTIONS = 3
_LINE_SEARCHES = 50
_RELATIVE_GAIN = 64.0
"""Of the loss in one step, in multiples of the machine's precision, below which it ends."""


class WideModel(msgspec.Struct, frozen=True):
    """What of scikit-learn's fitted model is used: (K,) classes, (K, width) coefficients, (K,) intercept."""

    classes_: NDArray[Any]
    coef_: NDArray[np.float32]
    intercept_: NDArray[np.float32]

    def predict_proba(self, matrix: Any) -> NDArray[np.float64]:
        """Return the (n, K) probabilities of the classes for the (n, width) sparse `matrix`."""
        logits = np.asarray(matrix @ self.coef_.T, np.float64) + self.intercept_
        _normalize(logits)
        return logits


def fit_wide(
    dense: NDArray[np.float32],
    hashed: Any,
    answers: NDArray[Any],
    *,
    regularisation: float,
    max_iterations: int,
    tolerance: float,
) -> WideModel:
    """Return the model that tells the (n,) `answers` apart by (n, d) `dense` and (n, w) sparse `hashed`."""
    from scipy.optimize import fmin_l_bfgs_b

    classes, codes = np.unique(answers, return_inverse=True)
    objective = _Objective(dense, hashed, codes, 1.0 / (regularisation * len(codes)))
    shape = (dense.shape[1] + hashed.shape[1] + 1, len(classes))
    weights, _, _ = fmin_l_bfgs_b(
        lambda flat: objective.measure(flat.reshape(shape)),
        np.zeros(shape[0] * shape[1]),
        m=_CORRECTIONS,
        factr=_RELATIVE_GAIN,
        pgtol=tolerance,
        maxiter=max_iterations,
        maxls=_LINE_SEARCHES,
    )
    found = weights.reshape(shape).astype(np.float32)
    return WideModel(classes, found[:-1].T, found[-1])


class _Objective:
    """The mean loss of weights, with a penalty on all but the intercept, and its gradient."""

    def __init__(
        self, dense: NDArray[np.float32], hashed: Any, codes: NDArray[np.intp], penalty: float
    ) -> None:
        self._dense = dense.astype(np.float64)
        self._hashed = hashed.astype(np.float64)
        self._hashed_by_column = self._hashed.T.tocsr()
        self._codes = codes
        self._penalty = penalty

    def measure(self, weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Return the loss of `weights`, (width + 1, K) with the intercept last, and the flat gradient."""
        rows, width = self._dense.shape
        logits = self._dense @ weights[:width]
        logits += self._hashed @ weights[width:-1]
        logits += weights[-1]
        losses = -_normalize(logits, self._codes)
        logits[np.arange(rows), self._codes] -= 1.0
        logits /= rows
        gradient = self._penalty * weights
        gradient[:width] += self._dense.T @ logits
        gradient[width:-1] += self._hashed_by_column @ logits
        gradient[-1] = logits.sum(axis=0)
        squares = float(np.vdot(weights[:-1], weights[:-1]))
        return float(losses.mean()) + self._penalty * squares / 2.0, gradient.ravel()


def _normalize(logits: NDArray[np.float64], codes: NDArray[np.intp] | None = None) -> NDArray[np.float64]:
    """Turn `logits` into probabilities in place; return the logarithms of those at `codes`, if given."""
    logits -= logits.max(axis=1, keepdims=True)
    chosen = np.zeros(len(logits)) if codes is None else logits[np.arange(len(logits)), codes]
    np.exp(logits, out=logits)
    sums = logits.sum(axis=1, keepdims=True)
    logits /= sums
    logarithms: NDArray[np.float64] = chosen - np.log(sums[:, 0])
    return logarithms
