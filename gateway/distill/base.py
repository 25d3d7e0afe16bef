"""What a recipe must promise, and the nouns of learning: lessons, exam results, events."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, Protocol

import msgspec
from msgspec import Meta

from gateway.config.bounds import InnerShare, NonNegativeFloat, PositiveFloat, PositiveInt, Share
from gateway.core import Certification, Draft, RiskTarget
from gateway.harvest.base import Row
from gateway.specialists.shared_resources import SharedResources


class TrainingSet(msgspec.Struct, frozen=True):
    """What a student learns from: (n,) inputs and the teacher's answers to them.

    `completion_tokens` are what the teacher took for each answer, 0 where it did not say; empty where
    nothing is known.
    """

    texts: Sequence[str]
    answers: Sequence[str]
    completion_tokens: Sequence[int] = ()

    @classmethod
    def of(cls, rows: Sequence[Row]) -> TrainingSet:
        """Return the inputs and answers of `rows`."""
        tokens = [row.completion_tokens for row in rows]
        return cls([row.text for row in rows], [row.answer for row in rows], tokens)

    def select(self, rows: Sequence[int]) -> TrainingSet:
        """Return the rows of these indices, in this order."""
        tokens = [self.completion_tokens[row] for row in rows] if self.completion_tokens else ()
        return TrainingSet([self.texts[row] for row in rows], [self.answers[row] for row in rows], tokens)


class EvalResult(msgspec.Struct, frozen=True):
    """How a student did on answers it had not learnt: (n,) scores 0..1 and losses 0..1.

    `drafts` are the answers themselves (None: refused), empty where a recipe makes none. `graded` holds
    the losses by other agreements than the exact one.
    """

    scores: Sequence[float]
    losses: Sequence[float]
    drafts: Sequence[Draft | None] = ()
    graded: Mapping[str, Sequence[float]] = {}

    @property
    def agreed(self) -> float:
        """The share of the answers that agree."""
        return 1 - sum(self.losses) / max(1, len(self.losses))

    def by_agreement(self, agreement: str) -> EvalResult:
        """Return the same with the losses by `agreement`; without these, the exact ones: none is lower."""
        return msgspec.structs.replace(self, losses=self.graded.get(agreement, self.losses))

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

    def error_above(self, threshold: float) -> float:
        """Return the estimated error among the answers that score at least `threshold`."""
        above = [loss for score, loss in zip(self.scores, self.losses, strict=True) if score >= threshold]
        return laplace_mean(sum(above), len(above))

    def coverage_at(self, alpha: float) -> float:
        """Return the largest share, the surest first, with an estimated error within `alpha`."""
        ranked = sorted(zip(self.scores, self.losses, strict=True), key=lambda pair: -pair[0])
        wrong, covered = 0.0, 0
        for count, (_, loss) in enumerate(ranked, start=1):
            wrong += loss
            if laplace_mean(wrong, count) <= alpha:
                covered = count
        return covered / len(ranked) if ranked else 0.0


def laplace_mean(losses: float, answers: int) -> float:
    """Return the mean error rate to expect after `losses` in `answers`, before which any was as likely."""
    return (losses + 1.0) / (answers + 2.0)


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What was trained: rows used, the distinct answers seen, and what the recipe measured."""

    rows: int
    answers: int
    metrics: dict[str, float] = {}
    has_parent: bool = False
    """Whether its weights went on from those of an earlier version, and so know its lessons."""
    served_model: str = ""
    """The model elsewhere that drafts; empty if the files do."""


class Workspace(msgspec.Struct, frozen=True, kw_only=True):
    """Where one task's students are trained.

    `folder` stays from one version to the next, so that a slow recipe can go on from where it
    was; a recipe keeps its own things in a folder of its name in it. `agreements` are those that
    the policies ask for beside the exact one, `alphas` the risks that they allow.
    """

    folder: Path
    seed: int
    resources: SharedResources
    agreements: Sequence[str] = ()
    alphas: Sequence[float] = (RiskTarget().alpha,)


class Recipe(Protocol):
    """One way to train. A module in `recipes/` holds a frozen `Config` and `create(config) -> Recipe`."""

    @property
    def name(self) -> str:
        """The module's name."""

    @property
    def runtime(self) -> str:
        """Name of the runtime that serves what this trains."""

    @property
    def learns(self) -> str:
        """Which answers it can learn, in words that complete "it learns"."""

    @property
    def is_general(self) -> bool:
        """Whether it learns any answers, slowly: it is left out where another recipe can learn them."""

    @property
    def growth(self) -> float:
        """Rows needed for the next version, in multiples of what the last one saw."""

    def can_learn(self, rows: TrainingSet) -> bool:
        """Return whether answers like those in `rows` can be learned; may take a second."""

    def validate(self, lessons: TrainingSet, exam: TrainingSet, workspace: Workspace) -> EvalResult:
        """Return how a student of `lessons` does on `exam`. May take minutes.

        A slow recipe may leave the student on the bench for the `train` that follows.
        Raises TrainingError saying what is missing.
        """

    def train(self, lessons: TrainingSet, folder: Path, workspace: Workspace) -> Report:
        """Write a specialist's files into the empty `folder`. May take minutes.

        The same lessons, seed and bench give the same specialist. Raises TrainingError.
        """


EventKind = Literal["adopted", "postponed", "trained", "certified", "kept", "lapsed", "overtaken", "revoked"]


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that the learner did, for logs and `learn status`.

    `postponed`: nothing could be learnt yet, `detail` says why. `trained`: a shadow version.
    `kept`: a live version stayed because its successor was not better. `overtaken`: an alarm
    came while the version was in the making. `revoked`: the version cannot draft with this encoder, or
    its engine runs another model.
    """

    task: str
    kind: EventKind
    version: int | None = None
    detail: str = ""


def kind_of_result(version: int, certification: Certification) -> EventKind:
    """Return what became of `version`, which was judged and led to `certification`."""
    if certification.stage != "live":
        return "trained"
    return "certified" if certification.version == version else "kept"


def describe_certificates(certification: Certification) -> str:
    """Return one clause per certificate: its stratum, its target, its note."""
    return "; ".join(
        f"{each.stratum} texts at {each.target.alpha:.1%}{each.target.manner}: {each.note}"
        for each in certification.certificates
    )


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When the learner trains a new version, and when it tries to certify one."""

    adopt_rows: PositiveInt = 50
    """Rows after which an unknown template becomes a task."""
    first_rows: PositiveInt = 200
    """Training rows before a task gets its first version."""
    growth: Annotated[float, Meta(gt=1)] = 1.3
    """Factor by which a task's rows must grow before it gets its next version. A smaller one spends
    delta and hours on the same evidence, a larger one serves less for longer."""
    max_rows: PositiveInt = 20_000
    """Most recent training rows kept per task, and as many audits."""
    seed: int = 0

    validation_share: InnerShare = 0.25
    """Share of the training rows on which students are validated, before a last one learns all rows."""
    enough_coverage: Share = 0.9
    """Share of the requests served at which a recipe is good enough: below it a slower one is tried."""
    slow_recipe_rows: PositiveInt = 1_000
    """Training rows before slower recipes are tried: their students learn little from few rows."""
    first_coverage: InnerShare = 0.6
    """Share of the requests that a first certificate should cover."""
    halve_coverage_after: PositiveFloat = 6.0
    """Audits, in multiples of the fewest that could ever certify `first_coverage`, after which half
    of that share is enough for a first certificate: some tasks never get easier."""
    min_power: InnerShare = 0.6
    """Probability of success below which a first attempt would only waste delta."""
    review_pause_s: NonNegativeFloat = 60.0
    """A review changes what may be learnt: the next version is made once no verdict came for so long."""
    sure_power: InnerShare = 0.95
    """Probability of success that an attempt needs if its failure would end a certificate in force."""

    def rows_needed(self, learned: int, growth: float) -> int:
        """Return the training rows that are worth a new version when the last one learned from `learned`."""
        return max(self.first_rows, math.ceil(learned * growth))
