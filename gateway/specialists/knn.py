"""Similarity of a text to the nearest training text of a specialist."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gateway.errors import RegistryError

FILE = "neighbors.npy"
MAX_NEIGHBORS = 4_000
"""Training vectors kept for the similarity; more of them cost time and tell little."""

FloatVector = NDArray[np.float32]
FloatMatrix = NDArray[np.float32]


class NearestNeighbors:
    """The unit vectors, (n, dimension), of at most MAX_NEIGHBORS training texts."""

    def __init__(self, vectors: FloatMatrix) -> None:
        self._vectors = vectors

    def similarity(self, embedding: FloatVector) -> float:
        """Return the cosine between `embedding` and the nearest training text."""
        return float((self._vectors @ embedding).max())


def write_neighbors(vectors: FloatMatrix, folder: Path) -> None:
    """Write unit `vectors`, (n >= 1, dimension), into `folder` as float16."""
    np.save(folder / FILE, vectors[:MAX_NEIGHBORS].astype(np.float16))


def read_neighbors(folder: Path, dimension: int) -> NearestNeighbors:
    """Return the neighbors in `folder`. Raises RegistryError naming the file."""
    path = folder / FILE
    try:
        vectors = np.ascontiguousarray(np.load(path, allow_pickle=False), dtype=np.float32)
    except (OSError, ValueError, EOFError) as exc:
        raise RegistryError(f"{path} is unreadable: {exc}") from exc
    if vectors.ndim != 2 or vectors.shape[1] != dimension or not len(vectors):
        raise RegistryError(
            f"{path} has the shape {vectors.shape}; at least one {dimension}-d vector is needed"
        )
    if not np.isfinite(vectors).all():
        raise RegistryError(f"{path} holds numbers that are not finite: train it again")
    return NearestNeighbors(vectors)


def sample_neighbors(vectors: list[FloatVector], seed: int) -> FloatMatrix:
    """Return at most MAX_NEIGHBORS of `vectors`, drawn by `seed`, in their order."""
    if len(vectors) <= MAX_NEIGHBORS:
        return np.stack(vectors)
    chosen = np.random.default_rng(seed).choice(len(vectors), MAX_NEIGHBORS, replace=False)
    return np.stack([vectors[i] for i in sorted(chosen)])
