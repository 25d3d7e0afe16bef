"""How familiar a text is to a specialist that chooses one of its answers.

The relative Mahalanobis distance: how far a text's embedding lies from the lessons of the answer that it
was given, by how these spread, less how far it lies from all lessons, by how all spread. A floor below
which 1 % of the evidence lies takes half as many answers that would be served as one of the cosine to the
nearest lesson did, and lets about as many strangers pass, or fewer (loadtests/README.md).
Source: Ren et al. 2021, "A Simple Fix to Mahalanobis Distance", arXiv 2106.09022.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from gateway.errors import RegistryError
from gateway.specialists.knn import FloatMatrix, FloatVector
from gateway.specialists.linear.arrays import open_arrays

FILE = "familiarity.npz"

_ARRAYS = ("form", "slopes", "offsets")


class Familiarity(msgspec.Struct, frozen=True, kw_only=True):
    """The relative distance x to answer k as x @ form @ x + slopes[k] @ x + offsets[k].

    `form` is (dimension, dimension), `slopes` (K, dimension), `offsets` (K,).
    """

    form: FloatMatrix
    slopes: FloatMatrix
    offsets: FloatVector

    def rate(self, embedding: FloatVector, answer: int) -> float:
        """Return how familiar a text is that was given `answer`, between -1 and 1; higher is more."""
        distance = embedding @ (self.form @ embedding + self.slopes[answer]) + self.offsets[answer]
        mean = -float(distance) / len(embedding)
        return mean / (1.0 + abs(mean))


def write_familiarity(familiarity: Familiarity, folder: Path) -> None:
    """Write `familiarity` into `folder`."""
    arrays = {name: getattr(familiarity, name) for name in _ARRAYS}
    np.savez(folder / FILE, **arrays)


def read_familiarity(folder: Path, dimension: int, answers: int) -> Familiarity:
    """Return that of a specialist with so many `answers` over vectors of `dimension`.

    Raises RegistryError naming the file.
    """
    path = folder / FILE
    with open_arrays(path) as arrays:
        found = {name: np.ascontiguousarray(arrays[name], dtype=np.float32) for name in _ARRAYS}
    shapes = [found[name].shape for name in _ARRAYS]
    if shapes != [(dimension, dimension), (answers, dimension), (answers,)]:
        raise RegistryError(
            f"{path} does not fit {answers} answers and {dimension}-d vectors: train it again"
        )
    if not all(np.isfinite(array).all() for array in found.values()):
        raise RegistryError(f"{path} holds numbers that are not finite: train it again")
    return Familiarity(**found)
