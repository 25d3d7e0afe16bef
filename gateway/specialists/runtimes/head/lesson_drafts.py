"""A head's drafts of the very texts that it has learnt, made once, when it is trained.

They are what the head would draft, number for number, so that certificate, audits and thresholds
know no difference: only the encoder's time is saved. They are part of the version, and go with it
when what it has learnt must be forgotten.
"""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from gateway.errors import RegistryError
from gateway.specialists.learnt import find_hash, hash_exactly
from gateway.specialists.linear.arrays import open_arrays

FILE = "lesson_drafts.npz"


class LessonDraft(msgspec.Struct, frozen=True):
    """A draft: the number of its answer, and its evidence; no `similarity` if the first stage made it."""

    answer: int
    probability: float
    margin: float
    similarity: float | None


class LessonDrafts:
    """The drafts of texts that are known by their hashes: 8 bytes of each text as it is written."""

    def __init__(
        self, hashes: NDArray[np.uint64], answers: NDArray[np.int32], evidence: NDArray[np.float64]
    ) -> None:
        """Keep the columns of the file, (n,), (n,) and (n, 3): as an object a draft would take 350 bytes."""
        order = np.argsort(hashes)
        self._hashes = array("Q", hashes[order].tobytes())
        self._answers, self._evidence = answers[order], evidence[order]

    def find(self, text: str) -> LessonDraft | None:
        """Return the draft of exactly `text`, None if it was no lesson; about 3 us."""
        place = find_hash(self._hashes, int.from_bytes(hash_exactly(text), sys.byteorder))
        if place is None:
            return None
        probability, margin, similarity = self._evidence[place].tolist()
        known = None if math.isnan(similarity) else similarity
        return LessonDraft(int(self._answers[place]), probability, margin, known)


def write_lesson_drafts(texts: Sequence[str], drafts: Sequence[LessonDraft], folder: Path) -> None:
    """Write the `drafts` of `texts`, (n,) both, into `folder`: 32 bytes each."""
    by_hash = dict(zip(map(hash_exactly, texts), drafts, strict=True))
    hashes = sorted(by_hash)
    found = [by_hash[each] for each in hashes]
    np.savez(
        folder / FILE,
        hashes=np.frombuffer(b"".join(hashes), np.uint64),
        answers=np.array([draft.answer for draft in found], np.int32),
        evidence=np.array(
            [(draft.probability, draft.margin, draft.similarity) for draft in found],
            np.float64,  # None becomes NaN.
        ).reshape(-1, 3),
    )


def read_lesson_drafts(folder: Path, answers: int) -> LessonDrafts | None:
    """Return the drafts in `folder` of a head with so many `answers`; None if it has no such file.

    Raises RegistryError naming the file.
    """
    path = folder / FILE
    if not path.exists():
        return None
    with open_arrays(path) as arrays:
        hashes, numbers, evidence = (arrays[name] for name in ("hashes", "answers", "evidence"))
    is_whole = (
        hashes.dtype == np.uint64 and evidence.shape == (len(hashes), 3) and len(numbers) == len(hashes)
    )
    if not is_whole or (len(numbers) and not (numbers.min() >= 0 and numbers.max() < answers)):
        raise RegistryError(f"{path} does not fit its head: train the version again")
    return LessonDrafts(hashes, numbers, evidence)
