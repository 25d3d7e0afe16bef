"""The recipe `head`: a logistic regression over the features of a text, trained in seconds."""

from __future__ import annotations

import warnings
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from scipy import sparse

from gateway.confidence.agreement import canonical_text
from gateway.distill.base import EvalResult, Report, TrainingSet, Workspace
from gateway.distill.evaluation import measure_losses
from gateway.distill.labels import are_labels
from gateway.distill.suspects import Opinion
from gateway.errors import SpecialistError, TrainingError
from gateway.specialists import knn
from gateway.specialists.base import Encoder
from gateway.specialists.knn import FloatVector
from gateway.specialists.runtimes.head import runtime
from gateway.specialists.runtimes.head.features import HASHED_BINS, Features, build_features
from gateway.specialists.runtimes.head.lesson_drafts import write_lesson_drafts


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the recipe."""

    regularisation: float = 10.0
    """Inverse strength; 3 to 30 cover alike."""
    max_iterations: int = 200
    tolerance: float = 1e-4
    """At 1e-3 the solver stops after 5 steps of 20: CLINC150, 4,000 rows, coverage at 2 % error
    .91 instead of .95. At 1e-5 it takes twice as long and covers no more."""
    max_answers: int = 1_000
    """The commonest answers are learnt; each costs 67 KB."""


def create(config: Config) -> HeadRecipe:
    """Return the recipe; it asks the bench's encoder for every text anew, so give it one that remembers."""
    return HeadRecipe(config)


class HeadRecipe:
    """Learns which of the teacher's answers belongs to a text."""

    name = "head"
    runtime = "head"
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
        learnt = _readable(lessons, encoder)
        model = self._fitted(learnt, workspace.seed)
        asked = _readable(exam, encoder)
        if not asked.answers:
            raise TrainingError("the exam has no row which the encoder can read")
        probabilities = model.predict_proba(_matrix(asked.seen))
        best = model.classes_[probabilities.argmax(axis=1)]
        ranked = np.partition(probabilities, -2, axis=1)
        return EvalResult(
            (ranked[:, -1] - ranked[:, -2]).tolist(),
            (best != np.array(asked.answers, dtype=object)).astype(float).tolist(),
            graded={each: measure_losses(asked.answers, best, each) for each in workspace.agreements},
        )

    def form_opinions(
        self, lessons: TrainingSet, exam: TrainingSet, workspace: Workspace
    ) -> list[Opinion | None]:
        """Return what a student of `lessons` thinks of each row of `exam`. Raises TrainingError."""
        learnt = _readable(lessons, workspace.resources.encoder)
        model = self._fitted(learnt, workspace.seed)
        forms = _commonest_forms(lessons.answers)
        place = {answer: column for column, answer in enumerate(model.classes_)}
        opinions: list[Opinion | None] = []
        for text, answer in zip(exam.texts, exam.answers, strict=True):
            asked = _readable(TrainingSet([text], [answer]), workspace.resources.encoder)
            if not asked.answers:
                opinions.append(None)
                continue
            (probabilities,) = model.predict_proba(_matrix(asked.seen))
            given = place.get(asked.answers[0])
            # Not the distance to the best answer: where several are likely, a wrong one still is not.
            doubt = 1.0 - (float(probabilities[given]) if given is not None else 0.0)
            best = forms[model.classes_[int(probabilities.argmax())]]
            opinions.append(Opinion(answer=best, doubt=doubt))
        return opinions

    def train(self, lessons: TrainingSet, folder: Path, workspace: Workspace) -> Report:
        """Write the files of a head, and its drafts of the lessons, into `folder`. Raises TrainingError."""
        learnt = _readable(lessons, workspace.resources.encoder)
        model = self._fitted(learnt, workspace.seed)
        coefficients, intercept = _columns(model.coef_, model.intercept_)
        raw = _commonest_forms(lessons.answers)
        answers = tuple(raw[answer] for answer in model.classes_)
        runtime.write_head(
            runtime.Head(
                coefficients=coefficients,
                intercept=intercept,
                answers=answers,
                answer_tokens=_most_tokens(lessons, model.classes_),
            ),
            folder,
        )
        knn.write_neighbors(knn.sample_neighbors(learnt.vectors, workspace.seed), folder)
        trained = runtime.create(folder, workspace.resources)
        write_lesson_drafts(learnt.texts, [trained.draft_anew(text) for text in learnt.texts], folder)
        return Report(rows=len(learnt.answers), answers=len(answers))

    def _fitted(self, learnt: _Readable, seed: int) -> Any:
        # A heavy import: to list recipes must not cost it.
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression
        from threadpoolctl import threadpool_limits

        common = {answer for answer, _ in Counter(learnt.answers).most_common(self._config.max_answers)}
        if len(common) < 2:
            raise TrainingError(
                f"{len(learnt.answers)} readable rows have {len(common)} distinct answers; a head needs two"
            )
        kept = [i for i, answer in enumerate(learnt.answers) if answer in common]
        model = LogisticRegression(
            C=self._config.regularisation,
            max_iter=self._config.max_iterations,
            tol=self._config.tolerance,
            random_state=seed,
        )
        # One thread: the gateway beside it needs the other cores, and on two cores, idle or busy,
        # a fit of 1,500 rows and 60 answers is 2 to 5 times faster so.
        with warnings.catch_warnings(), threadpool_limits(1):
            # The last iterations change the fourth digit; the certificate measures what came out.
            warnings.simplefilter("ignore", ConvergenceWarning)
            return model.fit(
                _matrix([learnt.seen[i] for i in kept]),
                np.array([learnt.answers[i] for i in kept], dtype=object),
            )


class _Readable(msgspec.Struct):
    texts: list[str]
    seen: list[Features]
    vectors: list[FloatVector]
    answers: list[str]


def _readable(lessons: TrainingSet, encoder: Encoder) -> _Readable:
    """Return the lessons that the encoder can read, answers in canonical form."""
    readable = _Readable([], [], [], [])
    for text, answer in zip(lessons.texts, lessons.answers, strict=True):
        try:
            vector = np.asarray(encoder.encode(text), np.float32)
        except SpecialistError:
            continue
        readable.texts.append(text)
        readable.seen.append(build_features(text, vector))
        readable.vectors.append(vector)
        readable.answers.append(canonical_text(answer))
    return readable


def _matrix(seen: Sequence[Features]) -> Any:
    """Return the sparse (n, width) feature matrix of at least one text."""
    dense = sparse.csr_matrix(np.stack([row.dense for row in seen]))
    starts = np.cumsum([0] + [len(row.indices) for row in seen])
    hashed = sparse.csr_matrix(
        (np.concatenate([row.values for row in seen]), np.concatenate([row.indices for row in seen]), starts),
        shape=(len(seen), HASHED_BINS),
    )
    return sparse.hstack([dense, hashed], format="csr")


def _columns(coefficients: Any, intercept: Any) -> tuple[Any, Any]:
    """Return (features, K) coefficients and (K,) intercept; two classes come as one column."""
    if len(coefficients) == 1:
        coefficients = np.vstack([np.zeros_like(coefficients), coefficients])
        intercept = np.concatenate([[0.0], intercept])
    return coefficients.T, intercept


def _commonest_forms(answers: Sequence[str]) -> dict[str, str]:
    """Return for each canonical answer the form in which the teacher writes it most."""
    forms: dict[str, Counter[str]] = defaultdict(Counter)
    for answer in answers:
        forms[canonical_text(answer)][answer] += 1
    return {answer: counts.most_common(1)[0][0] for answer, counts in forms.items()}


def _most_tokens(lessons: TrainingSet, answers: Sequence[str]) -> tuple[int, ...]:
    """Return the most tokens that the teacher took for each of the canonical `answers`, 0 if unknown."""
    most: Counter[str] = Counter()
    tokens_of = lessons.completion_tokens or [0] * len(lessons.answers)
    for answer, tokens in zip(lessons.answers, tokens_of, strict=True):
        form = canonical_text(answer)
        most[form] = max(most[form], tokens)
    return tuple(most[answer] for answer in answers)
