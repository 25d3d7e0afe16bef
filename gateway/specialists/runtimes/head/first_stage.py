"""A head's first stage: it answers from words alone what it is sure of, so that most texts need no encoder.

It is a linear classifier like the head itself, over the encoder's word vectors instead of its
embedding. Which texts it may answer, and what its margin is worth on the head's own scale, its
recipe has measured on lessons; one certificate speaks of both stages together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from gateway.errors import RegistryError
from gateway.specialists.base import Vectorizer
from gateway.specialists.knn import FloatMatrix, FloatVector
from gateway.specialists.linear.arrays import open_arrays
from gateway.specialists.linear.classifier import BestAnswer, choose_answer
from gateway.specialists.linear.features import feature_width

FILE = "first_stage.npz"
WORD_WEIGHT = np.float32(5.0)

_KNOWN_BITS = 2**18
"""A head of 3,000 lessons knows 15,000 n-grams: an unknown one passes as known in 6 % of the cases."""
_ARRAYS = ("coefficients", "intercept", "known", "limits", "margins", "scores")


class StageRule(msgspec.Struct, frozen=True, kw_only=True):
    """Which texts the first stage answers, and how sure an answer is.

    `least_margin` between its two best answers, and `least_known`, the share of a text's words and
    word pairs that the lessons hold. A margin of `margins`, (k,) ascending, is worth the score of
    the same place in `scores`; between them a straight line.
    """

    least_margin: float
    least_known: float
    margins: NDArray[np.float64]
    scores: NDArray[np.float64]

    def score(self, margin: float) -> float:
        """Return the score of an answer with this `margin`, on the scale of the head's own margins."""
        return float(self.score_all(np.float64(margin)))

    def score_all(self, margins: NDArray[np.float64] | np.float64) -> NDArray[np.float64]:
        """Return the scores of answers with these `margins`, in the same shape."""
        return np.asarray(np.interp(margins, self.margins, self.scores))


class FirstStage(msgspec.Struct, frozen=True, kw_only=True):
    """Its parameters: coefficients and intercept as in a Head, over word vectors weighted by WORD_WEIGHT.

    `known` is the filter of `filter_ngrams`.
    """

    coefficients: FloatMatrix
    intercept: FloatVector
    known: bytes
    rule: StageRule

    def choose(self, text: str, codes: Sequence[int], words: Vectorizer) -> BestAnswer | None:
        """Return its answer to `text`, whose n-grams have the `codes`; None if the encoder must look at it.

        Raises SpecialistError as the encoder would.
        """
        if share_known(codes, self.known) < self.rule.least_known:
            return None
        vector = np.asarray(words.encode(text), np.float32) * WORD_WEIGHT
        choice = choose_answer(vector, codes, self.coefficients, self.intercept)
        return choice if choice.margin >= self.rule.least_margin else None


def filter_ngrams(codes: Iterable[int]) -> bytes:
    """Return a filter that knows the n-grams with these `codes`, and some others: 32 KB."""
    bits = np.zeros(_KNOWN_BITS, np.uint8)
    bits[np.fromiter(codes, np.int64) % _KNOWN_BITS] = 1
    return np.packbits(bits, bitorder="little").tobytes()


def share_known(codes: Sequence[int], known: bytes) -> float:
    """Return the share of `codes` that the filter `known` knows; 0 without any."""
    if not codes:
        return 0.0
    places = (code % _KNOWN_BITS for code in codes)
    return sum(known[place >> 3] >> (place & 7) & 1 for place in places) / len(codes)


def write_first_stage(stage: FirstStage, folder: Path) -> None:
    """Write `stage` into `folder`."""
    np.savez(
        folder / FILE,
        coefficients=stage.coefficients.astype(np.float32),
        intercept=stage.intercept.astype(np.float32),
        known=np.frombuffer(stage.known, np.uint8),
        limits=np.array([stage.rule.least_margin, stage.rule.least_known]),
        margins=np.asarray(stage.rule.margins, np.float64),
        scores=np.asarray(stage.rule.scores, np.float64),
    )


def read_first_stage(folder: Path, dimension: int, answers: int) -> FirstStage | None:
    """Return the first stage in `folder` of a head with so many `answers`; None if it has none.

    `dimension` is that of the word vectors. Raises RegistryError naming the file.
    """
    path = folder / FILE
    if not path.exists():
        return None
    with open_arrays(path) as arrays:
        found = {name: np.ascontiguousarray(arrays[name]) for name in _ARRAYS}
    if not _fits(found, (feature_width(dimension), answers)):
        raise RegistryError(f"{path} does not fit its head: train the version again")
    least_margin, least_known = found["limits"].tolist()
    return FirstStage(
        coefficients=found["coefficients"],
        intercept=found["intercept"],
        known=found["known"].tobytes(),
        rule=StageRule(
            least_margin=least_margin,
            least_known=least_known,
            margins=found["margins"],
            scores=found["scores"],
        ),
    )


def _fits(found: dict[str, NDArray[np.generic]], shape: tuple[int, int]) -> bool:
    numbers = [found[name] for name in _ARRAYS if name != "known"]
    if not all(each.dtype.kind == "f" and np.isfinite(each).all() for each in numbers):
        return False
    knots = found["margins"].shape
    return (
        (found["coefficients"].shape, found["intercept"].shape) == (shape, shape[1:])
        and found["known"].dtype == np.uint8
        and found["known"].shape == (_KNOWN_BITS // 8,)
        and found["limits"].shape == (2,)
        and knots == found["scores"].shape
        and len(knots) == 1
        and knots[0] > 0
    )
