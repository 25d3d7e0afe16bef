"""Fitting a linear classifier to the features of texts, for the recipes that train one."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gateway.distill.wide_fit import fit_wide
from gateway.specialists.knn import FloatMatrix, FloatVector
from gateway.specialists.linear.features import HASHED_BINS, Features

REGULARISATION = 10.0
MAX_ITERATIONS = 200
TOLERANCE = 1e-4
MOST_WEIGHTS = 8_000_000
"""About 480 answers; with more, scikit-learn's fit takes more than 2.3 GB."""


def fit_classifier(
    seen: Sequence[Features],
    answers: NDArray[Any],
    seed: int,
    *,
    regularisation: float = REGULARISATION,
    max_iterations: int = MAX_ITERATIONS,
    tolerance: float = TOLERANCE,
) -> Any:
    """Return the logistic regression that tells the `answers`, (n,) and at least two distinct, apart."""
    from threadpoolctl import threadpool_limits

    if len(np.unique(answers)) * (len(seen[0].dense) + HASHED_BINS) > MOST_WEIGHTS:
        with threadpool_limits(1):
            return fit_wide(
                np.stack([row.dense for row in seen]),
                _stack_hashed(seen),
                answers,
                regularisation=regularisation,
                max_iterations=max_iterations,
                tolerance=tolerance,
            )
    # A heavy import: to list recipes must not cost it.
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=regularisation, max_iter=max_iterations, tol=tolerance, random_state=seed)
    # One thread: the gateway beside it needs the other cores, and on two cores, idle or busy,
    # a fit of 1,500 rows and 60 answers is 2 to 5 times faster so.
    with warnings.catch_warnings(), threadpool_limits(1):
        # The last iterations change the fourth digit; the certificate measures what came out.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(build_matrix(seen), answers)


def build_matrix(seen: Sequence[Features]) -> Any:
    """Return the sparse (n, width) feature matrix of at least one text."""
    dense = sparse.csr_matrix(np.stack([row.dense for row in seen]))
    return sparse.hstack([dense, _stack_hashed(seen)], format="csr")


def read_columns(model: Any) -> tuple[FloatMatrix, FloatVector]:
    """Return (features, K) coefficients and (K,) intercept; two classes come as one column."""
    coefficients, intercept = model.coef_, model.intercept_
    if len(coefficients) == 1:
        coefficients = np.vstack([np.zeros_like(coefficients), coefficients])
        intercept = np.concatenate([[0.0], intercept])
    return coefficients.T, intercept


def _stack_hashed(seen: Sequence[Features]) -> Any:
    """Return the sparse (n, HASHED_BINS) part of the feature matrix."""
    starts = np.cumsum([0] + [len(row.indices) for row in seen])
    return sparse.csr_matrix(
        (np.concatenate([row.values for row in seen]), np.concatenate([row.indices for row in seen]), starts),
        shape=(len(seen), HASHED_BINS),
    )
