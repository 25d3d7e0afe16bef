"""A linear head over a text's features: it answers with one of the strings that its teacher has used."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from gateway.core import DraftRequest
from gateway.errors import RegistryError
from gateway.registry.files import read_json
from gateway.specialists.answer_tokens import read_answer_tokens, write_answer_tokens
from gateway.specialists.base import Encoder, Listener, Prediction
from gateway.specialists.familiarity import Familiarity, read_familiarity
from gateway.specialists.knn import FloatMatrix, FloatVector
from gateway.specialists.linear.arrays import open_arrays
from gateway.specialists.linear.classifier import choose_answer
from gateway.specialists.linear.features import EMBEDDING_WEIGHT, feature_width, ngram_codes
from gateway.specialists.runtimes.head import first_stage
from gateway.specialists.runtimes.head.first_stage import FirstStage, read_first_stage
from gateway.specialists.runtimes.head.lesson_drafts import LessonDraft, LessonDrafts, read_lesson_drafts
from gateway.specialists.shared_resources import SharedResources

WEIGHTS = "head.npz"
ANSWERS = "answers.json"

_FEWEST_ANSWERS = 2


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """The parameters of a head.

    `coefficients` is (feature_width(dimension), K) and `intercept` (K,): logits, so that
    probabilities are their softmax (a two-class regression with one column w is the columns
    0 and w). `answers` are the K >= 2 strings to serve, in the order of the columns; `answer_tokens`,
    (K,), the most tokens that the teacher took for each of them, 0 where it did not say.
    """

    coefficients: FloatMatrix
    intercept: FloatVector
    answers: tuple[str, ...]
    answer_tokens: tuple[int, ...]


def write_head(head: Head, folder: Path) -> None:
    """Write `head` into `folder` as head.npz and answers.json."""
    np.savez(
        folder / WEIGHTS,
        coefficients=head.coefficients.astype(np.float32),
        intercept=head.intercept.astype(np.float32),
    )
    (folder / ANSWERS).write_bytes(msgspec.json.encode(head.answers))
    write_answer_tokens(head.answer_tokens, folder)


def read_head(folder: Path, dimension: int) -> Head:
    """Return the head in `folder` for an encoder of `dimension`. Raises RegistryError naming the file."""
    path = folder / WEIGHTS
    with open_arrays(path) as arrays:
        coefficients, intercept = (
            np.ascontiguousarray(arrays[name], dtype=np.float32) for name in ("coefficients", "intercept")
        )
    answers = _read_answers(folder / ANSWERS)
    expected = ((feature_width(dimension), len(answers)), (len(answers),))
    if (coefficients.shape, intercept.shape) != expected:
        raise RegistryError(
            f"{path} has shapes {coefficients.shape}, {intercept.shape}; "
            f"{len(answers)} answers and {dimension}-d vectors need {expected}"
        )
    if not (np.isfinite(coefficients).all() and np.isfinite(intercept).all()):
        raise RegistryError(f"{path} holds numbers that are not finite: train it again")
    return Head(
        coefficients=coefficients,
        intercept=intercept,
        answers=answers,
        answer_tokens=read_answer_tokens(folder, len(answers)),
    )


def create(folder: Path, resources: SharedResources) -> HeadRuntime:
    """Return the runtime for the head in `folder`. Raises RegistryError naming the file."""
    encoder = resources.encoder
    head = read_head(folder, encoder.dimension)
    familiarity = read_familiarity(folder, encoder.dimension, len(head.answers))
    known = read_lesson_drafts(folder, len(head.answers))
    return HeadRuntime(head, familiarity, encoder, known, _read_first_stage(folder, encoder, head))


class HeadRuntime:
    """Drafts the head's most probable answer, where it can from words alone."""

    is_remote = False

    def __init__(
        self,
        head: Head,
        familiarity: Familiarity,
        encoder: Encoder,
        known: LessonDrafts | None = None,
        first_stage: FirstStage | None = None,
    ) -> None:
        """`known` are this head's drafts of texts that it need not draft again.

        A `first_stage` needs an encoder with word vectors.
        """
        self._known = known
        self._head = head
        self._familiarity = familiarity
        self._encoder = encoder
        self._words = encoder.word_vectors if first_stage else None
        self._first_stage = first_stage

    def draft(self, draft_request: DraftRequest, listener: Listener) -> Prediction:
        """Return the most probable answer; thread-safe, the same numbers for the same text.

        `score` is the margin between the two most probable answers (a better score than the
        probability itself, measured with these features), or what a first stage's margin is worth
        on that scale. `evidence` adds `probability` and `margin`; then `similarity`, how near the text
        lies to what was learnt, -1 to 1, or `first_stage`, 1, where the text was not embedded.
        Raises SpecialistError as the encoder does.
        """
        known = self._known.find(draft_request.text) if self._known else None
        draft = known or self.draft_anew(draft_request.text)
        evidence = {"probability": draft.probability, "margin": draft.margin}
        if draft.similarity is None:
            evidence["first_stage"] = 1.0
        else:
            evidence["similarity"] = draft.similarity
        return Prediction(
            text=self._head.answers[draft.answer],
            score=self._score(draft),
            teacher_tokens=self._head.answer_tokens[draft.answer],
            evidence=evidence,
        )

    def draft_anew(self, text: str) -> LessonDraft:
        """Return the draft of `text`, computed. Raises SpecialistError as the encoder does."""
        codes = ngram_codes(text)
        if self._first_stage and self._words:
            sure = self._first_stage.choose(text, codes, self._words)
            if sure:
                return LessonDraft(sure.answer, sure.probability, sure.margin, None)
        embedding = np.asarray(self._encoder.encode(text), np.float32)
        head, weighted = self._head, embedding * EMBEDDING_WEIGHT
        best = choose_answer(weighted, codes, head.coefficients, head.intercept)
        familiarity = self._familiarity.rate(embedding, best.answer)
        return LessonDraft(best.answer, best.probability, best.margin, familiarity)

    def close(self) -> None:
        """Do nothing: memory is all that it holds."""

    def _score(self, draft: LessonDraft) -> float:
        if draft.similarity is None and self._first_stage:
            return self._first_stage.rule.score(draft.margin)
        return draft.margin


def _read_first_stage(folder: Path, encoder: Encoder, head: Head) -> FirstStage | None:
    if not (folder / first_stage.FILE).exists():
        return None
    if encoder.word_vectors is None:
        raise RegistryError(f"{folder / first_stage.FILE} needs an encoder with word vectors")
    return read_first_stage(folder, encoder.word_vectors.dimension, len(head.answers))


def _read_answers(path: Path) -> tuple[str, ...]:
    answers = read_json(path, tuple[str, ...])
    if len(answers) < _FEWEST_ANSWERS:
        raise RegistryError(f"{path} holds {len(answers)} answers; a head needs at least {_FEWEST_ANSWERS}")
    return answers
