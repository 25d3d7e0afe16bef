"""Fitting what tells how familiar a text is to a specialist that chooses one of its answers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gateway.specialists.familiarity import Familiarity
from gateway.specialists.knn import FloatVector

_SHRINKAGE = 0.1
"""Towards a sphere of the same size; 0.05 to 0.5 tell strangers apart alike, taught by 700 lessons."""
_LEAST_SPREAD = 1e-6
"""Variance of lessons that are all the same."""

_Matrix = NDArray[np.float64]


def fit_familiarity(vectors: Sequence[FloatVector], answers: Sequence[int], count: int) -> Familiarity:
    """Return that of (n,) lessons whose `answers` are numbered below `count`; each has a lesson at least."""
    lessons, given = np.asarray(vectors, np.float64), np.asarray(answers)
    centers = np.zeros((count, lessons.shape[1]))
    np.add.at(centers, given, lessons)
    centers /= np.bincount(given, minlength=count)[:, None]
    middle = lessons.mean(axis=0)
    within = _invert_spread(lessons - centers[given])
    around = _invert_spread(lessons - middle)
    return Familiarity(
        form=(within - around).astype(np.float32),
        slopes=(2.0 * (around @ middle - centers @ within)).astype(np.float32),
        offsets=((centers @ within * centers).sum(axis=1) - middle @ around @ middle).astype(np.float32),
    )


def _invert_spread(deviations: _Matrix) -> _Matrix:
    """Return the inverse of the shrunk covariance of (n, dimension) deviations from their means."""
    dimension = deviations.shape[1]
    covariance = deviations.T @ deviations / len(deviations)
    size = max(np.trace(covariance) / dimension, _LEAST_SPREAD)
    inverse: _Matrix = np.linalg.inv((1.0 - _SHRINKAGE) * covariance + _SHRINKAGE * size * np.eye(dimension))
    return inverse
