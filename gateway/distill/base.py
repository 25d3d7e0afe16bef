"""What a recipe must promise, and the nouns of learning: lessons, exam results, events."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from gateway.harvest.base import Row


class Lessons(msgspec.Struct, frozen=True):
    """What a student learns from: (n,) inputs and the teacher's answers to them."""

    texts: Sequence[str]
    answers: Sequence[str]

    @classmethod
    def of(cls, rows: Sequence[Row]) -> Lessons:
        """Return the lessons in `rows`."""
        return cls([row.text for row in rows], [row.answer for row in rows])


class Scored(msgspec.Struct, frozen=True):
    """How a student did on answers it had not learnt: (n,) scores 0..1 and losses 0..1."""

    scores: Sequence[float]
    losses: Sequence[float]

    def error_at(self, coverage: float) -> float:
        """Return the estimated error among the surest `coverage` of the answers.

        One error more than was seen, in two answers more (Laplace): a small exam never promises
        zero. Half an error (Jeffreys) certifies sooner, but on so little evidence that later
        versions cannot prove themselves. SNIPS, 10 seeds: mean escalation .21 instead of .25,
        in the last tenth up to .14 instead of .08.
        """
        surest = sorted(zip(self.scores, self.losses, strict=True), key=lambda pair: -pair[0])
        surest = surest[: int(len(surest) * coverage)]
        return laplace_mean(sum(loss for _, loss in surest), len(surest))


def laplace_mean(losses: float, answers: int) -> float:
    """Return the mean error rate to expect after `losses` in `answers`, before which any was as likely."""
    return (losses + 1.0) / (answers + 2.0)


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What was trained: rows used, and the distinct answers which the specialist can give."""

    rows: int
    answers: int


class Recipe(Protocol):
    """One way to train. A module in `recipes/` holds a frozen `Config` and `create(config, encoder)`."""

    @property
    def name(self) -> str:
        """The module's name."""

    @property
    def runtime(self) -> str:
        """Name of the runtime which serves what this trains."""

    def rehearse(self, lessons: Lessons, exam: Lessons, seed: int) -> Scored:
        """Return how a student of `lessons` does on `exam`; keeps nothing. May take minutes.

        Raises TrainingError saying what is missing.
        """

    def train(self, lessons: Lessons, folder: Path, seed: int) -> Report:
        """Write a specialist's files into the empty `folder`. May take minutes.

        The same lessons and seed give the same specialist. Raises TrainingError.
        """


class Promise(msgspec.Struct, frozen=True):
    """What certificates of a task must say: at most `alpha` wrong, with probability 1 - `delta`."""

    alpha: float = 0.02
    delta: float = 0.10


EventKind = Literal["adopted", "postponed", "trained", "certified", "kept", "overtaken"]


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One thing which the learner did, for logs and `learn status`.

    `postponed`: nothing could be learnt yet, `detail` says why. `trained`: a shadow version.
    `kept`: a live version stayed because its successor was not better. `overtaken`: an alarm
    came while the version was in the making.
    """

    task: str
    kind: EventKind
    version: int | None = None
    detail: str = ""


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When the learner acts."""

    adopt_rows: int = 50
    """Rows which make an unknown template a task."""
    first_rows: int = 200
    """Training rows for the first version."""
    growth: float = 1.3
    """Rows needed for the next version, in multiples of what the last one saw. Smaller spends
    delta and hours on the same evidence, larger leaves coverage on the table."""
    max_rows: int = 20_000
    """Most recent rows kept for training, and as many as evidence."""
    coverage: float = 0.6
    """Share of the traffic which a first certificate should be worth."""
    patience: float = 6.0
    """Evidence, in multiples of the least which could ever certify that share, after which half
    the share is worth a certificate as well: some tasks never get easier."""
    power: float = 0.6
    """Chance of success below which an attempt would only waste delta."""
    exam_share: float = 0.25
    """Training rows set aside to estimate that chance, before all are learnt."""
    seed: int = 0

    def is_enough(self, rows: int, last: int) -> bool:
        """Whether `rows` are worth a new version when the last one saw `last`."""
        return rows >= max(self.first_rows, math.ceil(last * self.growth))
