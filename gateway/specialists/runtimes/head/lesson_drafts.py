"""A head's drafts of the very texts that it has learnt, made once, when it is trained.

They are what the head would draft, number for number, so that certificate, audits and thresholds
know no difference: only the encoder's time is saved. They are part of the version, and go with it
when what it has learnt must be forgotten.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np

from gateway.errors import RegistryError
from gateway.specialists.learnt import hash_exactly
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

    def __init__(self, drafts: Mapping[bytes, LessonDraft] | None = None) -> None:
        self._drafts = drafts or {}

    def find(self, text: str) -> LessonDraft | None:
        """Return the draft of exactly `text`, None if it was no lesson; about 2 us."""
        return self._drafts.get(hash_exactly(text)) if self._drafts else None


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


def read_lesson_drafts(folder: Path, answers: int) -> LessonDrafts:
    """Return the drafts in `folder` of a head with so many `answers`; none if it has no such file.

    Raises RegistryError naming the file.
    """
    path = folder / FILE
    if not path.exists():
        return LessonDrafts()
    with open_arrays(path) as arrays:
        hashes, numbers, evidence = (arrays[name] for name in ("hashes", "answers", "evidence"))
    is_whole = (
        hashes.dtype == np.uint64 and evidence.shape == (len(hashes), 3) and len(numbers) == len(hashes)
    )
    if not is_whole or (len(numbers) and not (numbers.min() >= 0 and numbers.max() < answers)):
        raise RegistryError(f"{path} does not fit its head: train the version again")
    raw = hashes.tobytes()
    keys = [raw[start : start + 8] for start in range(0, len(raw), 8)]
    rows = zip(keys, numbers.tolist(), evidence.tolist(), strict=True)
    return LessonDrafts(
        {
            key: LessonDraft(number, probability, margin, None if math.isnan(similarity) else similarity)
            for key, number, (probability, margin, similarity) in rows
        }
    )
