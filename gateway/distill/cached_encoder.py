"""Embeddings that are computed once: every version learns from mostly the same texts."""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress

import numpy as np

from gateway.errors import SpecialistError, TrainingError
from gateway.specialists.base import Encoder, Vectorizer
from gateway.specialists.knn import MAX_NEIGHBORS, FloatMatrix


class CachedEncoder:
    """An encoder that remembers the vectors of the last `most` texts.

    Still one text a run: what is certified must be the number that is served, and a batch
    of int8 inputs gives other numbers. Not for use from several threads.
    """

    def __init__(self, encoder: Encoder, most: int = 50_000) -> None:
        self._encoder = encoder
        self._most = most
        self._vectors: OrderedDict[str, object] = OrderedDict()

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
        """Those of the encoder inside: they are cheaper than to be remembered."""
        return self._encoder.word_vectors

    def encode(self, text: str) -> object:
        """Return the (dimension,) float32 unit vector of `text`. Raises as the encoder inside."""
        if text in self._vectors:
            self._vectors.move_to_end(text)
            return self._vectors[text]
        vector = self._vectors[text] = self._encoder.encode(text)
        if len(self._vectors) > self._most:
            self._vectors.popitem(last=False)
        return vector


def sampled_vectors(texts: Sequence[str], encoder: Encoder, seed: int) -> FloatMatrix:
    """Return the unit vectors of at most MAX_NEIGHBORS of the `texts`, drawn by `seed`.

    Raises TrainingError when the encoder can read none of them.
    """
    draw = random.Random(seed)  # noqa: S311 - a reproducible sample, not a secret
    vectors = []
    for text in draw.sample(list(texts), min(len(texts), MAX_NEIGHBORS)):
        with suppress(SpecialistError):
            vectors.append(np.asarray(encoder.encode(text), np.float32))
    if not vectors:
        raise TrainingError("the encoder can read none of the rows")
    return np.stack(vectors)
