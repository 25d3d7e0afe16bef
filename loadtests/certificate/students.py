"""Real students, recorded once: what each answers on texts that it has learnt and on fresh ones."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from gateway.confidence.agreement import measure_loss
from gateway.core import Certificate, DraftRequest
from gateway.distill.base import TrainingSet, Workspace
from gateway.distill.cached_encoder import CachedEncoder
from gateway.distill.recipes import head as recipe
from gateway.specialists.base import NullListener
from gateway.specialists.encoders import create_encoder
from gateway.specialists.engine.pool import EnginePool
from gateway.specialists.runtimes.head import runtime
from gateway.specialists.shared_resources import SharedResources
from loadtests.datasets import read_data

ENCODER = "minilm"
SIZES: Mapping[str, tuple[int, int]] = {"gold_headlines": (3_000, 7_000), "banking77": (4_000, 8_000)}
"""Texts that the student learns, and fresh ones that it is asked."""

_BESIDE = Path("../shared/data")
_FIELDS = ("scores", "losses", "similarities")

FloatArray = NDArray[np.float64]


class Answers(msgspec.Struct, frozen=True, kw_only=True):
    """A student's answers: scores, losses, and similarities to the nearest learnt text; all are (texts,)."""

    scores: FloatArray
    losses: FloatArray
    similarities: FloatArray

    def __len__(self) -> int:
        return len(self.scores)

    def are_served(self, certificate: Certificate) -> NDArray[np.bool_]:
        """Return which answers `certificate` lets pass if their form is covered: (texts,).

        The same as gate.refusal_reason says one by one; a test compares the two.
        """
        threshold = np.inf if certificate.threshold is None else certificate.threshold
        is_familiar = self.similarities >= certificate.novelty_floor
        return (self.scores >= threshold) & is_familiar


class Student(msgspec.Struct, frozen=True, kw_only=True):
    """One recorded student."""

    learnt: Answers
    fresh: Answers


def load_students(data_folder: Path | None, *, is_new: bool = False) -> dict[str, Student]:
    """Return the students of all data sets, from the cache or recorded now (two minutes, side by side).

    `is_new` records them again. Raises SystemExit if a data set is not found.
    """
    places = {
        name: cache_folder() / f"{name}-{sizes[0]}-{sizes[1]}-{ENCODER}.npz" for name, sizes in SIZES.items()
    }
    missing = [name for name, place in places.items() if is_new or not place.exists()]
    found = [_find_data(name, data_folder) for name in missing]
    with ProcessPoolExecutor(max(1, len(missing))) as pool:
        list(pool.map(_record, found, missing, [places[name] for name in missing]))
    return {name: read_student(place) for name, place in places.items()}


def cache_folder() -> Path:
    """Return the folder of recorded students, below XDG_CACHE_HOME or ~/.cache."""
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches) / "stepdown" / "students"


def record_student(data: Path, lessons: int, fresh: int) -> Student:
    """Train a head on the first distinct texts of `data`, and ask it these and the next ones."""
    answers = {pair.text: pair.answer for pair in reversed(read_data(data, 0).pairs)}
    rows = list(answers.items())[::-1]
    encoder = CachedEncoder(create_encoder(ENCODER))
    learnt, asked = _as_set(rows[:lessons]), _as_set(rows[lessons : lessons + fresh])
    with tempfile.TemporaryDirectory() as folder:
        resources = SharedResources(encoder, EnginePool(Path(folder) / "models", 1_024))
        version = Path(folder) / "version"
        version.mkdir()
        workspace = Workspace(folder=Path(folder), seed=0, resources=resources)
        recipe.create(recipe.Config()).train(learnt, version, workspace)
        specialist = runtime.create(version, resources)
        try:
            return Student(learnt=_ask(specialist, learnt), fresh=_ask(specialist, asked))
        finally:
            specialist.close()
            resources.engines.close()


def write_student(student: Student, path: Path) -> None:
    """Write the recorded arrays into `path`, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {
        f"{pool}_{field}": getattr(getattr(student, pool), field)
        for pool in ("learnt", "fresh")
        for field in _FIELDS
    }
    new = path.with_name(f"{path.name}.new")
    with new.open("wb") as file:
        np.savez(file, **arrays)
    new.replace(path)


def read_student(path: Path) -> Student:
    """Return the student that was written into `path`."""
    with np.load(path, allow_pickle=False) as arrays:
        learnt, fresh = (
            Answers(**{field: arrays[f"{pool}_{field}"] for field in _FIELDS}) for pool in ("learnt", "fresh")
        )
    return Student(learnt=learnt, fresh=fresh)


def _record(data: Path, name: str, place: Path) -> None:
    write_student(record_student(data, *SIZES[name]), place)


def _find_data(name: str, data_folder: Path | None) -> Path:
    """Return the place of a data set for `read_data`: a path, or its name if it was fetched."""
    if data_folder is not None:
        return data_folder / name
    try:
        read_data(Path(name), 0, 1)
    except SystemExit:
        if not (_BESIDE / name).is_dir():
            raise
        return _BESIDE / name
    return Path(name)


def _as_set(rows: Sequence[tuple[str, str]]) -> TrainingSet:
    return TrainingSet([text for text, _ in rows], [answer for _, answer in rows])


def _ask(specialist: runtime.HeadRuntime, exam: TrainingSet) -> Answers:
    drafts = [specialist.draft(DraftRequest(text=text), NullListener()) for text in exam.texts]
    pairs = zip(drafts, exam.answers, strict=True)
    return Answers(
        scores=np.array([draft.score for draft in drafts]),
        losses=np.array([measure_loss(answer, draft.text) for draft, answer in pairs]),
        # A first stage drafts only texts whose words it knows; they are under no floor.
        similarities=np.array([draft.evidence.get("similarity", 1.0) for draft in drafts]),
    )
