"""Learns a head, and a first stage for it where that pays."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from gateway.confidence.agreement import canonical_text
from gateway.distill.base import EvalResult, Report, TrainingSet, Workspace
from gateway.distill.evaluation import measure_losses
from gateway.distill.familiarity_fit import fit_familiarity
from gateway.distill.labels import are_labels, most_tokens
from gateway.distill.linear_fit import (
    MAX_ITERATIONS,
    REGULARISATION,
    TOLERANCE,
    build_matrix,
    fit_classifier,
    read_columns,
)
from gateway.distill.recipes.head.first_stage import FEWEST, Rehearsal, StagePlan, plan_first_stage
from gateway.distill.recipes.head.lessons import Lessons, read_lessons
from gateway.distill.suspects import Opinion
from gateway.errors import TrainingError
from gateway.specialists.familiarity import Familiarity, write_familiarity
from gateway.specialists.linear.features import Features, ngram_codes
from gateway.specialists.runtimes.head import runtime
from gateway.specialists.runtimes.head.first_stage import (
    FirstStage,
    filter_ngrams,
    share_known,
    write_first_stage,
)
from gateway.specialists.runtimes.head.lesson_drafts import write_lesson_drafts

_FEWEST_ANSWERS = 2
_MOST_REHEARSED = 4_000
"""Texts on which a first stage is planned: more would take longer and tell little more."""
_ASKED_SHARE = 0.25


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the recipe."""

    regularisation: float = REGULARISATION
    """Inverse strength; 3 to 30 cover alike."""
    max_iterations: int = MAX_ITERATIONS
    tolerance: float = TOLERANCE
    """At 1e-3 the solver stops after 5 steps of 20: CLINC150, 4,000 rows, coverage at 2 % error
    .91 instead of .95. At 1e-5 it takes twice as long and covers no more."""
    max_answers: int = 1_000
    """The commonest answers are learnt; each costs 67 KB, twice that with a first stage."""


def create(config: Config) -> HeadRecipe:
    """Return the recipe; it asks the bench's encoder for every text anew, so give it one that remembers."""
    return HeadRecipe(config)


class HeadRecipe:
    """Learns which of the teacher's answers belongs to a text."""

    name = "head"
    runtime = "head"
    learns = "labels: few answers that repeat"
    is_general = False
    growth = 1.0

    def __init__(self, config: Config) -> None:
        self._config = config

    def can_learn(self, rows: TrainingSet) -> bool:
        """Return whether the answers are labels."""
        return are_labels(rows.answers)

    def validate(self, lessons: TrainingSet, exam: TrainingSet, workspace: Workspace) -> EvalResult:
        """Return how a student of `lessons` does on `exam`; keeps nothing. Raises TrainingError."""
        encoder = workspace.resources.encoder
        student = self._taught(read_lessons(lessons, encoder), workspace)
        asked = read_lessons(exam, encoder)
        if not asked.answers:
            raise TrainingError("the exam has no row which the encoder can read")
        scores, best = _answer(student, asked)
        return EvalResult(
            scores.tolist(),
            (best != np.array(asked.answers, dtype=object)).astype(float).tolist(),
            graded={each: measure_losses(asked.answers, best, each) for each in workspace.agreements},
        )

    def form_opinions(
        self, lessons: TrainingSet, exam: TrainingSet, workspace: Workspace
    ) -> list[Opinion | None]:
        """Return what a student of `lessons` thinks of each row of `exam`. Raises TrainingError."""
        learnt = read_lessons(lessons, workspace.resources.encoder)
        model = self._fitted(learnt.seen, learnt.answers, workspace.seed)
        forms = _commonest_forms(lessons.answers)
        place = {answer: column for column, answer in enumerate(model.classes_)}
        opinions: list[Opinion | None] = []
        for text, answer in zip(exam.texts, exam.answers, strict=True):
            asked = read_lessons(TrainingSet([text], [answer]), workspace.resources.encoder)
            if not asked.answers:
                opinions.append(None)
                continue
            (probabilities,) = _predict(model, asked.seen)
            given = place.get(asked.answers[0])
            # Not the distance to the best answer: where several are likely, a wrong one still is not.
            doubt = 1.0 - (float(probabilities[given]) if given is not None else 0.0)
            best = forms[model.classes_[int(probabilities.argmax())]]
            opinions.append(Opinion(answer=best, doubt=doubt))
        return opinions

    def train(self, lessons: TrainingSet, folder: Path, workspace: Workspace) -> Report:
        """Write the files of a head, and its drafts of the lessons, into `folder`. Raises TrainingError."""
        learnt = read_lessons(lessons, workspace.resources.encoder)
        student = self._taught(learnt, workspace)
        coefficients, intercept = read_columns(student.model)
        raw = _commonest_forms(lessons.answers)
        answers = tuple(raw[answer] for answer in student.model.classes_)
        runtime.write_head(
            runtime.Head(
                coefficients=coefficients,
                intercept=intercept,
                answers=answers,
                answer_tokens=most_tokens(lessons, student.model.classes_),
            ),
            folder,
        )
        if student.first:
            write_first_stage(_first_stage(student.first), folder)
        write_familiarity(_familiarity(learnt, student.model), folder)
        trained = runtime.create(folder, workspace.resources)
        write_lesson_drafts(learnt.texts, [trained.draft_anew(text) for text in learnt.texts], folder)
        metrics = {"first_stage_share": student.first.plan.share} if student.first else {}
        return Report(rows=len(learnt.answers), answers=len(answers), metrics=metrics)

    def _taught(self, learnt: Lessons, workspace: Workspace) -> _TaughtHead:
        """Return a student of all lessons, with a first stage if one pays on lessons kept back."""
        model = self._fitted(learnt.seen, learnt.answers, workspace.seed)
        plan = self._plan(learnt, workspace) if learnt.words else None
        return _TaughtHead(model, self._first(learnt, plan, workspace.seed) if plan else None)

    def _plan(self, learnt: Lessons, workspace: Workspace) -> StagePlan | None:
        taught, asked = _split(learnt, workspace.seed)
        if len(asked.answers) < FEWEST or len(set(taught.answers)) < _FEWEST_ANSWERS:
            return None
        model = self._fitted(taught.seen, taught.answers, workspace.seed)
        first = self._fitted(taught.words, taught.answers, workspace.seed)
        known = _known(taught)
        return plan_first_stage(_rehearse(model, first, known, asked), workspace.alphas)

    def _first(self, learnt: Lessons, plan: StagePlan, seed: int) -> _First:
        return _First(self._fitted(learnt.words, learnt.answers, seed), _known(learnt), plan)

    def _fitted(self, seen: Sequence[Features], answers: Sequence[str], seed: int) -> Any:
        common = {answer for answer, _ in Counter(answers).most_common(self._config.max_answers)}
        if len(common) < _FEWEST_ANSWERS:
            raise TrainingError(
                f"{len(answers)} readable rows have {len(common)} distinct answers; a head needs two"
            )
        kept = [i for i, answer in enumerate(answers) if answer in common]
        return fit_classifier(
            [seen[i] for i in kept],
            np.array([answers[i] for i in kept], dtype=object),
            seed,
            regularisation=self._config.regularisation,
            max_iterations=self._config.max_iterations,
            tolerance=self._config.tolerance,
        )


class _First(msgspec.Struct, frozen=True):
    model: Any
    known: bytes
    plan: StagePlan


class _TaughtHead(msgspec.Struct, frozen=True):
    model: Any
    first: _First | None


def _answer(student: _TaughtHead, asked: Lessons) -> tuple[NDArray[np.float64], Any]:
    """Return the scores and the canonical answers of both stages together, (n,) each."""
    margins, best = _best(student.model, _predict(student.model, asked.seen))
    if student.first is None:
        return margins, best
    rule = student.first.plan.rule
    first = student.first.model
    first_margins, first_best = _best(first, _predict(first, asked.words))
    sure = (first_margins >= rule.least_margin) & (_shares(asked, student.first.known) >= rule.least_known)
    return np.where(sure, rule.score_all(first_margins), margins), np.where(sure, first_best, best)


def _rehearse(model: Any, first: Any, known: bytes, asked: Lessons) -> Rehearsal:
    margins, best = _best(first, _predict(first, asked.words))
    held = _predict(model, asked.seen)
    second_margins, second_best = _best(model, held)
    right = np.array(asked.answers, dtype=object)
    return Rehearsal(
        margins=margins,
        known=_shares(asked, known),
        losses=(best != right).astype(float),
        worth=_leads(model, held, best),
        second_margins=second_margins,
        second_losses=(second_best != right).astype(float),
    )


def _split(learnt: Lessons, seed: int) -> tuple[Lessons, Lessons]:
    """Return lessons to learn and lessons to ask, no text in both, _MOST_REHEARSED at most."""
    texts, place = np.unique(np.array(learnt.texts, dtype=object), return_inverse=True)
    rank = np.random.default_rng(seed).permutation(len(texts))[place]
    most = min(len(texts), _MOST_REHEARSED)
    asked = int(most * _ASKED_SHARE)
    return (
        learnt.select(np.flatnonzero((rank >= asked) & (rank < most)).tolist()),
        learnt.select(np.flatnonzero(rank < asked).tolist()),
    )


def _predict(model: Any, seen: Sequence[Features]) -> NDArray[np.float64]:
    """Return the (n, K) probabilities of the answers to each text."""
    probabilities: NDArray[np.float64] = model.predict_proba(build_matrix(seen))
    return probabilities


def _best(model: Any, probabilities: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.object_]]:
    """Return the margin of the best answer of each text, and that answer."""
    ranked = np.partition(probabilities, -2, axis=1)
    return ranked[:, -1] - ranked[:, -2], model.classes_[probabilities.argmax(axis=1)]


def _leads(
    model: Any, probabilities: NDArray[np.float64], answers: NDArray[np.object_]
) -> NDArray[np.float64]:
    """Return by how much `model` holds each of `answers`, one a text, for likelier than all others."""
    rows, columns = np.arange(len(answers)), np.searchsorted(model.classes_, answers)
    others = probabilities.copy()
    others[rows, columns] = 0.0
    leads: NDArray[np.float64] = probabilities[rows, columns] - others.max(axis=1)
    return leads


def _known(learnt: Lessons) -> bytes:
    return filter_ngrams(code for text in learnt.texts for code in ngram_codes(text))


def _shares(asked: Lessons, known: bytes) -> NDArray[np.float64]:
    return np.array([share_known(ngram_codes(text), known) for text in asked.texts])


def _familiarity(learnt: Lessons, model: Any) -> Familiarity:
    place = {answer: column for column, answer in enumerate(model.classes_)}
    kept = [row for row, answer in enumerate(learnt.answers) if answer in place]
    given = [place[learnt.answers[row]] for row in kept]
    return fit_familiarity([learnt.vectors[row] for row in kept], given, len(place))


def _first_stage(first: _First) -> FirstStage:
    coefficients, intercept = read_columns(first.model)
    return FirstStage(coefficients=coefficients, intercept=intercept, known=first.known, rule=first.plan.rule)


def _commonest_forms(answers: Sequence[str]) -> dict[str, str]:
    """Return for each canonical answer the form in which the teacher writes it most."""
    forms: dict[str, Counter[str]] = defaultdict(Counter)
    for answer in answers:
        forms[canonical_text(answer)][answer] += 1
    return {answer: counts.most_common(1)[0][0] for answer, counts in forms.items()}
