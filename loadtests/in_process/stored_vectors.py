"""An encoder that keeps its vectors in a file: five seeds of one data set ask for the same texts."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from gateway.specialists.base import Encoder, Vectorizer
from gateway.specialists.knn import FloatVector
from gateway.store.atomic_file import replace_file


class StoredEncoder:
    """Gives the vectors of `encoder`, each computed once; `folder` has one file per encoder and data set.

    Still one text a run, as in service. For one thread.
    """

    def __init__(self, encoder: Encoder, folder: Path, data: str) -> None:
        self._encoder = encoder
        key = hashlib.sha256(f"{encoder.name} {data}".encode()).hexdigest()[:16]
        self._path = folder / f"{key}.npz"
        self._vectors: dict[str, FloatVector] = {}
        self._stored = 0
        if self._path.exists():
            with np.load(self._path, allow_pickle=False) as arrays:
                self._vectors = dict(zip(arrays["texts"].tolist(), arrays["vectors"], strict=True))
            self._stored = len(self._vectors)

    @property
    def name(self) -> str:
        """The name of the encoder inside: the vectors are the same."""
        return self._encoder.name

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self._encoder.dimension

    @property
    def word_vectors(self) -> Vectorizer | None:
        """Those of the encoder inside."""
        return self._encoder.word_vectors

    def encode(self, text: str) -> object:
        """Return the (dimension,) float32 unit vector of `text`. Raises as the encoder inside."""
        vector = self._vectors.get(text)
        if vector is None:
            vector = self._vectors[text] = np.asarray(self._encoder.encode(text), np.float32)
        return vector

    def save(self) -> None:
        """Write the file, if there is something new for it."""
        if len(self._vectors) == self._stored:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with replace_file(self._path) as scratch, scratch.open("wb") as file:
            np.savez(
                file, texts=np.array(list(self._vectors)), vectors=np.stack(list(self._vectors.values()))
            )
        self._stored = len(self._vectors)
