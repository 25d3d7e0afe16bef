"""Lessons as a head sees them: the features of the texts that the encoder can read."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from gateway.confidence.agreement import canonical_text
from gateway.distill.base import TrainingSet
from gateway.errors import SpecialistError
from gateway.specialists.base import Encoder
from gateway.specialists.knn import FloatVector
from gateway.specialists.linear.features import Features, build_features
from gateway.specialists.runtimes.head.first_stage import WORD_WEIGHT


class Lessons(msgspec.Struct, frozen=True):
    """(n,) texts with their embeddings and canonical answers; `words` are their features for a first stage.

    `words` is empty if the encoder has no word vectors.
    """

    texts: list[str]
    vectors: list[FloatVector]
    seen: list[Features]
    words: list[Features]
    answers: list[str]

    def select(self, rows: Sequence[int]) -> Lessons:
        """Return the rows of these indices, in this order."""
        return Lessons(
            [self.texts[row] for row in rows],
            [self.vectors[row] for row in rows],
            [self.seen[row] for row in rows],
            [self.words[row] for row in rows] if self.words else [],
            [self.answers[row] for row in rows],
        )


def read_lessons(lessons: TrainingSet, encoder: Encoder) -> Lessons:
    """Return the `lessons` that the encoder can read."""
    readable = Lessons([], [], [], [], [])
    for text, answer in zip(lessons.texts, lessons.answers, strict=True):
        try:
            vector = np.asarray(encoder.encode(text), np.float32)
        except SpecialistError:
            continue
        readable.texts.append(text)
        readable.vectors.append(vector)
        seen = build_features(text, vector)
        readable.seen.append(seen)
        if encoder.word_vectors:
            words = np.asarray(encoder.word_vectors.encode(text), np.float32)
            readable.words.append(msgspec.structs.replace(seen, dense=words * WORD_WEIGHT))
        readable.answers.append(canonical_text(answer))
    return readable
