"""The recipe `span`: a fine-tuned encoder which marks an answer's values in the input."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from gateway.confidence.agreement import canonical_text
from gateway.confidence.deferral import Scorer
from gateway.distill.base import EvalResult, Report, TrainingSet, Workspace
from gateway.distill.cached_encoder import sampled_vectors
from gateway.distill.checkpoints import Checkpoint
from gateway.distill.evaluation import evaluate
from gateway.distill.labels import are_labels
from gateway.distill.recipes.span import saved_student as memory
from gateway.distill.recipes.span.dataset import Dataset, build_dataset
from gateway.distill.recipes.span.judging import agreement_of
from gateway.distill.recipes.span.network import export, new_network, state_of
from gateway.distill.recipes.span.saved_student import SavedStudent, digest
from gateway.distill.recipes.span.training import TrainingPlan, fit
from gateway.errors import TrainingError
from gateway.specialists import knn
from gateway.specialists.encoders.minilm import build_tokenizer
from gateway.specialists.runtimes.tagger import runtime

_REHEARSED, _TRAINED = "rehearsed.pt", "trained.pt"
_HELD_OUT_OF = 20
"""One row of so many judges the passes instead of being learnt."""
_FEWEST_HELD_OUT = 20
_MOST_JUDGED = 300
_UNKNOWN_SHARE = 0.5
_KEPT_SHARE = 0.5
_REBUILT_SHARE = 0.8
_LATEST_ROWS = 2_000
"""Enough to tell whether answers can be rebuilt, and quick: half a second for 3,000 rows."""


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the recipe."""

    fewest_rows: int = 500
    """Rows before which a tagger knows too little to be worth its minutes (SNIPS JSON: 1,000 rows
    cover 43 % at 5 % error)."""
    first_rows: int = 18_000
    """Rows seen by a first student, repeats included, but in no fewer passes than `first_passes`."""
    first_passes: int = 4
    further_passes: int = 2
    """Passes for a student which goes on from the last version's."""
    rate: float = 4.5e-4
    further_rate: float = 2.5e-4


def create(config: Config) -> SpanRecipe:
    """Return the recipe."""
    return SpanRecipe(config)


class SpanRecipe:
    """Learns which words of a text are the answer's values, and which of its other values it takes."""

    name = "span"
    runtime = "tagger"
    is_general = False
    growth = 1.5

    def __init__(self, config: Config) -> None:
        self._config = config

    def can_learn(self, rows: TrainingSet) -> bool:
        """Return whether the answers are labels, or most can be rebuilt from parts of their inputs."""
        if are_labels(rows.answers):
            return True
        texts, answers = rows.texts[-_LATEST_ROWS:], rows.answers[-_LATEST_ROWS:]
        dataset = build_dataset(texts, answers, tokenizer(), runtime.MAX_TOKENS)
        return dataset.grammar.frame != "text" and len(dataset.rows) >= _REBUILT_SHARE * len(texts)

    def validate(self, lessons: TrainingSet, exam: TrainingSet, workspace: Workspace) -> EvalResult:
        """Return how a student of `lessons` does on the rows of `exam` which no student before has learnt.

        Leaves the student on the bench for `train`. Raises TrainingError.
        """
        before = _parent(memory.load(workspace.folder / self.name / _REHEARSED), lessons)
        asked = _unknown(before, exam)
        if len(asked.texts) < _UNKNOWN_SHARE * len(exam.texts):
            # The rows were split in another way: that student cannot be asked.
            before, asked = None, exam
        with tempfile.TemporaryDirectory(prefix="stepdown-span-") as scratch:
            self._learn(lessons, Path(scratch), workspace, before, _REHEARSED)
            served = runtime.create(Path(scratch), workspace.resources)
            return evaluate(served, asked, Scorer())

    def train(self, lessons: TrainingSet, folder: Path, workspace: Workspace) -> Report:
        """Write the tagger's files into `folder`, going on from the newest student. Raises TrainingError."""
        before = _parent(_newest(workspace.folder / self.name), lessons)
        return self._learn(lessons, folder, workspace, before, _TRAINED)

    def _learn(
        self, lessons: TrainingSet, folder: Path, workspace: Workspace, before: SavedStudent | None, name: str
    ) -> Report:
        """Train a student of `lessons`, leave it on the bench as `name` and its files in `folder`."""
        if len(lessons.texts) < self._config.fewest_rows:
            raise TrainingError(
                f"{len(lessons.texts)} rows; a tagger needs {self._config.fewest_rows} to begin with"
            )
        place = workspace.folder / self.name
        course = self._taught(lessons)
        held = _held_out(lessons, workspace.seed)
        kept = [number for number, row in enumerate(course.rows) if row not in held]
        exam = _chosen(lessons, sorted(held)[-_MOST_JUDGED:])
        network = new_network(course.grammar, before.state if before else None, workspace.seed)
        progress = Checkpoint(place / "progress.pt", _key(lessons, name, before))
        targets = [course.targets[number] for number in kept]
        plan = self._plan(
            len(kept), before, workspace.seed, lambda now: agreement_of(now, course.grammar, exam)
        )
        fit(network, course.grammar, targets, plan, progress)
        export(network, folder / runtime.MODEL)
        runtime.write(course.grammar, build_tokenizer(), folder)
        knn.write_neighbors(
            sampled_vectors(lessons.texts, workspace.resources.encoder, workspace.seed), folder
        )
        texts = frozenset(digest(lessons.texts[course.rows[number]]) for number in kept)
        newest = _newest(place)
        student = SavedStudent(
            state_of(network, course.grammar),
            texts | (before.texts if before else frozenset()),
            1 + (newest.number if newest else 0),
        )
        memory.save(student, place / name)
        progress.clear()
        metrics = {"rows_left_out": float(len(lessons.texts) - len(course.rows))}
        if exam.texts:
            metrics["agreement_before_int8"] = agreement_of(network, course.grammar, exam)
            metrics["agreement_int8"] = _agreement(folder, exam, workspace)
        answers = {canonical_text(lessons.answers[row]) for row in course.rows}
        return Report(rows=len(kept), answers=len(answers), metrics=metrics)

    def _taught(self, lessons: TrainingSet) -> Dataset:
        """Return what can be taught. Raises TrainingError when that is too little of it."""
        course = build_dataset(lessons.texts, lessons.answers, build_tokenizer(), runtime.MAX_TOKENS)
        rebuilt = len(course.rows) / max(1, len(lessons.texts))
        if rebuilt < _REBUILT_SHARE or course.grammar.tags + course.grammar.options < 2:
            raise TrainingError(
                f"{rebuilt:.0%} of {len(lessons.texts)} answers can be rebuilt from their inputs and from "
                f"values which repeat; needed: {_REBUILT_SHARE:.0%}, and something to decide"
            )
        return course

    def _plan(
        self, rows: int, before: SavedStudent | None, seed: int, agreement: Callable[[Any], float]
    ) -> TrainingPlan:
        if before:
            passes, rate = self._config.further_passes, self._config.further_rate
        else:
            passes = max(self._config.first_passes, self._config.first_rows // max(1, rows))
            rate = self._config.rate
        return TrainingPlan(passes=passes, rate=rate, seed=seed, agreement=agreement)


def _newest(place: Path) -> SavedStudent | None:
    known = [memory.load(place / name) for name in (_REHEARSED, _TRAINED)]
    return max((one for one in known if one), key=lambda one: one.number, default=None)


def _parent(student: SavedStudent | None, lessons: TrainingSet) -> SavedStudent | None:
    """Return `student` if what it learnt still counts: most of it is among the `lessons`.

    After an alarm only later rows may be, and a student with the old habits is worse than none.
    """
    if student is None:
        return None
    texts = {digest(text) for text in lessons.texts}
    return student if len(student.texts & texts) >= _KEPT_SHARE * len(student.texts) else None


def _unknown(student: SavedStudent | None, exam: TrainingSet) -> TrainingSet:
    """Return the rows of `exam` which neither `student` nor its ancestors have learnt."""
    known = student.texts if student else frozenset()
    return _chosen(exam, [row for row, text in enumerate(exam.texts) if digest(text) not in known])


def _held_out(lessons: TrainingSet, seed: int) -> set[int]:
    """Return the rows which no version learns: chosen by the text alone, none when they would be few."""
    drawn = {
        row for row, text in enumerate(lessons.texts) if int(digest(f"{seed} {text}"), 16) % _HELD_OUT_OF == 0
    }
    return drawn if len(drawn) >= _FEWEST_HELD_OUT else set()


def _chosen(lessons: TrainingSet, rows: Sequence[int]) -> TrainingSet:
    return TrainingSet([lessons.texts[row] for row in rows], [lessons.answers[row] for row in rows])


def _agreement(folder: Path, exam: TrainingSet, workspace: Workspace) -> float:
    losses = evaluate(runtime.create(folder, workspace.resources), exam, Scorer()).losses
    return 1.0 - sum(losses) / len(losses)


def _key(lessons: TrainingSet, name: str, before: SavedStudent | None) -> str:
    """Return what tells one training from another."""
    parts = (name, before.number if before else 0, lessons.texts, lessons.answers)
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()
