"""The students that a slow recipe keeps between versions, so that the next one need not begin again."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from gateway.distill.base import TrainingSet
from gateway.distill.checkpoints import Checkpoint, load_tensors, save_tensors

logger = logging.getLogger(__name__)

Purpose = Literal["validation", "version"]
"""Why a student was trained: to be validated on rows that it must not learn, or to be published."""

_PURPOSES: tuple[Purpose, ...] = ("validation", "version")
_KEPT_SHARE = 0.5


class SavedStudent(msgspec.Struct, frozen=True, kw_only=True):
    """One trained student; a later one has a larger `number`.

    `weights` are tensors by name; `outputs` names the rows of its heads, where it has heads.
    `learned` holds the digests of all rows that it and its ancestors learned, `base` is the digest
    of the model that they started from.
    """

    purpose: Purpose
    number: int
    base: str
    learned: frozenset[str]
    weights: dict[str, Any]
    outputs: dict[str, list[str]] = {}

    def may_be_parent(self, base: str, training: Collection[str]) -> bool:
        """Return whether a student of the `training` rows may go on from this one.

        It may if half of the rows that this one learned are still taught. After an alarm only later
        rows are: a student with the old habits is worse than none.
        """
        kept = self.learned.intersection(training)
        return self.base == base and len(kept) >= _KEPT_SHARE * len(self.learned)

    def find_unlearned(self, rows: Sequence[str]) -> list[int]:
        """Return the indices of the `rows` that neither this student nor its ancestors learned."""
        return [index for index, digest in enumerate(rows) if digest not in self.learned]


class SavedStudents:
    """The students of one task and recipe in `folder`, the latest of each purpose; rows are digests."""

    def __init__(self, folder: Path, base: str) -> None:
        self.folder = folder
        self.base = base

    def start_validation(
        self, training: Collection[str], validation: Sequence[str], fewest: float, *, afresh_rows: int = 0
    ) -> tuple[Lineage, list[int]]:
        """Return the lineage of a student to validate, and the indices of the rows to validate it on.

        They are the `validation` rows that its parent has not learned. Where fewer than `fewest`
        are left, or it is taught `afresh_rows` at most, they are all rows, and the student has no parent.
        """
        parent = self._load("validation") if len(training) > afresh_rows else None
        if parent and parent.may_be_parent(self.base, training):
            rows = parent.find_unlearned(validation)
            if len(rows) >= fewest:
                return Lineage(self, "validation", parent), rows
        return Lineage(self, "validation", None), list(range(len(validation)))

    def start_version(self, training: Collection[str]) -> Lineage:
        """Return the lineage of a student to publish: it goes on from the latest one, if it can."""
        parent = self.load_latest()
        is_suitable = parent is not None and parent.may_be_parent(self.base, training)
        return Lineage(self, "version", parent if is_suitable else None)

    def load_latest(self) -> SavedStudent | None:
        """Return the student with the largest number."""
        students = [student for purpose in _PURPOSES if (student := self._load(purpose))]
        return max(students, key=lambda student: student.number, default=None)

    def _load(self, purpose: Purpose) -> SavedStudent | None:
        path = self.folder / purpose
        try:
            saved = load_tensors(path)
            return None if saved is None else msgspec.convert(saved, SavedStudent)
        except msgspec.ValidationError as exc:
            logger.warning("%s holds no student of this version, its training begins again: %s", path, exc)
            return None


class Lineage(msgspec.Struct, frozen=True):
    """The student that a new one goes on from (None: from the base), and where the new one is kept."""

    students: SavedStudents
    purpose: Purpose
    parent: SavedStudent | None

    def open_checkpoint(self, training: TrainingSet, *settings: msgspec.Struct) -> Checkpoint:
        """Return the checkpoint of a training on `training` with these `settings`.

        Other rows, settings or another parent have another one.
        """
        digests = [row_digest(*pair) for pair in zip(training.texts, training.answers, strict=True)]
        parent = self.parent.number if self.parent else 0
        key = msgspec.json.encode((self.purpose, parent, digests, settings))
        path = self.students.folder / f"{self.purpose}.progress"
        return Checkpoint(path, hashlib.sha256(key).hexdigest())

    def save(
        self,
        learned: Iterable[str],
        weights: dict[str, Any],
        outputs: dict[str, list[str]] | None = None,
    ) -> None:
        """Replace the last student of this purpose by one that `learned` these rows, all or nothing."""
        latest = self.students.load_latest()
        student = {
            "purpose": self.purpose,
            "number": 1 + (latest.number if latest else 0),
            "base": self.students.base,
            "learned": sorted({*learned, *(self.parent.learned if self.parent else ())}),
            "weights": weights,
            "outputs": outputs or {},
        }
        save_tensors(student, self.students.folder / self.purpose)


def row_digest(*parts: str) -> str:
    """Return the digest that a row is remembered by: of its text, or of its text and answer."""
    return hashlib.sha256("\0".join(parts).encode(errors="replace")).hexdigest()[:16]
