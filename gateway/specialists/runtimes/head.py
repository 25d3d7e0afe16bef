"""A linear head over a text's features: answers with one of the strings its teacher has used."""

from __future__ import annotations

import zipfile
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from gateway.errors import RegistryError
from gateway.specialists.base import Encoder, Proposal
from gateway.specialists.features import FloatVector, features, width

WEIGHTS = "head.npz"
ANSWERS = "answers.json"
MAX_NEIGHBOURS = 4_000
"""Training vectors kept for familiarity; more cost time and say little."""

_FEWEST_ANSWERS = 2

FloatMatrix = NDArray[np.float32]


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """What a head is made of.

    `coefficients` is (features.width(dimension), K) and `intercept` (K,): logits, so that
    probabilities are their softmax (a two-class regression with one column w is the columns
    0 and w). `neighbours` is (n, dimension), n in 1..MAX_NEIGHBOURS unit training vectors.
    `answers` are the K >= 2 strings to serve, in the order of the columns.
    """

    coefficients: FloatMatrix
    intercept: FloatVector
    neighbours: FloatMatrix
    answers: tuple[str, ...]


def write(head: Head, folder: Path) -> None:
    """Write `head` into `folder` as head.npz (neighbours as float16) and answers.json."""
    np.savez(
        folder / WEIGHTS,
        coefficients=head.coefficients.astype(np.float32),
        intercept=head.intercept.astype(np.float32),
        neighbours=head.neighbours.astype(np.float16),
    )
    (folder / ANSWERS).write_bytes(msgspec.json.encode(head.answers))


def read(folder: Path, dimension: int) -> Head:
    """Return the head in `folder` for an encoder of `dimension`. Raises RegistryError naming the file."""
    path = folder / WEIGHTS
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            coefficients, intercept, neighbours = (
                np.ascontiguousarray(arrays[name], dtype=np.float32)
                for name in ("coefficients", "intercept", "neighbours")
            )
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as exc:
        raise RegistryError(f"{path} is unreadable: {exc}") from exc
    answers = _read_answers(folder / ANSWERS)
    expected = ((width(dimension), len(answers)), (len(answers),), (len(neighbours), dimension))
    if (coefficients.shape, intercept.shape, neighbours.shape) != expected or not len(neighbours):
        raise RegistryError(
            f"{path} has shapes {coefficients.shape}, {intercept.shape}, {neighbours.shape}; "
            f"{len(answers)} answers and {dimension}-d vectors need {expected} with at least one neighbour"
        )
    if not (np.isfinite(coefficients).all() and np.isfinite(intercept).all()):
        raise RegistryError(f"{path} holds numbers which are not finite: train it again")
    return Head(coefficients=coefficients, intercept=intercept, neighbours=neighbours, answers=answers)


def create(folder: Path, encoder: Encoder) -> HeadRuntime:
    """Return the runtime for the head in `folder`. Raises RegistryError naming the file."""
    return HeadRuntime(read(folder, encoder.dimension), encoder)


class HeadRuntime:
    """Drafts by the head's most probable answer."""

    def __init__(self, head: Head, encoder: Encoder) -> None:
        self._head = head
        self._encoder = encoder
        self._from_embedding = head.coefficients[: encoder.dimension]
        self._from_ngrams = head.coefficients[encoder.dimension :]

    def draft(self, text: str) -> Proposal:
        """Return the most probable answer; thread-safe, the same numbers for the same text.

        `score` is the margin between the two most probable answers (a better score than the
        probability itself, measured with the features); `evidence` adds `probability`,
        `margin` and `familiarity`, the cosine to the nearest training text.
        Raises SpecialistError as the encoder does.
        """
        embedding = np.asarray(self._encoder.encode(text), np.float32)
        probabilities = self._probabilities(text, embedding)
        best = int(probabilities.argmax())
        second, first = np.partition(probabilities, -2)[-2:]
        margin = float(first - second)
        return Proposal(
            text=self._head.answers[best],
            score=margin,
            evidence={
                "probability": float(first),
                "margin": margin,
                "familiarity": float((self._head.neighbours @ embedding).max()),
            },
        )

    def _probabilities(self, text: str, embedding: FloatVector) -> NDArray[np.float64]:
        seen = features(text, embedding)
        logits = seen.dense @ self._from_embedding + self._head.intercept
        logits = (logits + seen.values @ self._from_ngrams[seen.indices]).astype(np.float64)
        powers = np.exp(logits - logits.max())
        probabilities: NDArray[np.float64] = powers / powers.sum()
        return probabilities


def _read_answers(path: Path) -> tuple[str, ...]:
    try:
        answers = msgspec.json.decode(path.read_bytes(), type=tuple[str, ...])
    except (OSError, ValueError) as exc:
        raise RegistryError(f"{path} is unreadable: {exc}") from exc
    if len(answers) < _FEWEST_ANSWERS:
        raise RegistryError(f"{path} holds {len(answers)} answers; a head needs at least {_FEWEST_ANSWERS}")
    return answers
