"""Suspected errors of the teacher: answers with which students that have not seen them disagree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec
import numpy as np

from gateway.confidence.agreement import measure_loss
from gateway.distill.base import TrainingSet, Workspace
from gateway.distill.labels import are_labels
from gateway.errors import TrainingError
from gateway.harvest.base import Row

FOLDS = 5


class Opinion(msgspec.Struct, frozen=True, kw_only=True):
    """What a student that has not learnt a row would answer, and how surely, 0..1, the row is wrong."""

    answer: str
    doubt: float


class Suspect(msgspec.Struct, frozen=True, kw_only=True):
    """A row whose answer is doubted, and the answer that a student would give."""

    row: Row
    alternative: str
    doubt: float


class LabelStudent(Protocol):
    """The recipe `head`."""

    def form_opinions(
        self, lessons: TrainingSet, exam: TrainingSet, workspace: Workspace
    ) -> list[Opinion | None]:
        """Return what a student of `lessons` thinks of each row of `exam`; None if it cannot read it."""


def find_suspects(rows: Sequence[Row], student: LabelStudent, workspace: Workspace) -> list[Suspect]:
    """Return the lessons in `rows` that are most likely wrong, the likeliest first.

    Where answers are labels, five students are trained, each on four fifths of the rows, and asked about
    the rest: takes seconds for thousands of rows. Else a row is suspected if a draft was made to the same
    request and says something else.
    """
    lessons = [row for row in rows if not row.is_held_out]
    found = [
        Suspect(row=row, alternative=opinion.answer, doubt=opinion.doubt)
        for row, opinion in zip(lessons, _form_opinions(lessons, student, workspace), strict=True)
        if opinion is not None and measure_loss(row.answer, opinion.answer)
    ]
    return sorted(found, key=lambda suspect: -suspect.doubt)


def _form_opinions(rows: Sequence[Row], student: LabelStudent, workspace: Workspace) -> list[Opinion | None]:
    if not are_labels([row.answer for row in rows]):
        return [Opinion(answer=row.draft, doubt=row.draft_score) if row.draft else None for row in rows]
    opinions: list[Opinion | None] = [None] * len(rows)
    lessons = TrainingSet.of(rows)
    fold = np.random.default_rng(workspace.seed).permutation(len(rows)) % FOLDS
    for number in range(FOLDS):
        asked = np.flatnonzero(fold == number).tolist()
        seen = np.flatnonzero(fold != number).tolist()
        try:
            formed = student.form_opinions(lessons.select(seen), lessons.select(asked), workspace)
        except TrainingError:
            # Too few rows, or all but one with the same answer: then no student can be asked.
            continue
        for index, opinion in zip(asked, formed, strict=True):
            opinions[index] = opinion
    return opinions
