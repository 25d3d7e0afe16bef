"""What the tests of learning share: a toy encoder, harvested rows, a home with real stores."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest

from gateway.core import (
    UNCONSTRAINED,
    Certificate,
    Certification,
    Constraints,
    Footprint,
    MatchKind,
    Requirement,
    RiskTarget,
    Source,
    Stratum,
)
from gateway.distill.base import Config, TrainingSet, Workspace
from gateway.distill.learner import Learner
from gateway.distill.recipes import head as recipe
from gateway.distill.stores import Stores
from gateway.distill.version_builder import VersionBuilder
from gateway.errors import SpecialistError
from gateway.harvest.base import Row
from gateway.harvest.outbox import Outbox
from gateway.harvest.reader import HarvestReader
from gateway.registry.models import Registry
from gateway.specialists.base import Vectorizer
from gateway.specialists.knn import FloatVector
from gateway.specialists.runtimes.head import runtime
from gateway.store.certifications import CertificationStore
from gateway.store.database import Database
from gateway.store.imports import ImportLog
from gateway.store.pins import PinStore
from gateway.store.reviews import ReviewStore
from gateway.store.tasks import TaskStore
from gateway.store.templates import TemplateStore
from tests.specialists.hosting import resources_of

ANSWERS = ("card_lost", "card_arrival", "refund")
WORDS = ("lost stolen missing", "arrive delivery post", "refund money back")

CONFIG = Config(adopt_rows=20, first_rows=60, growth=1.3)


class ToyEncoder:
    """Adds up one random direction a word; refuses texts of more than 40 words."""

    dimension = 16
    word_vectors: Vectorizer | None = None

    def __init__(self, name: str = "toy@1") -> None:
        self.name = name
        self.seed = 0 if name == "toy@1" else zlib.crc32(name.encode())
        self.asked: list[str] = []

    def encode(self, text: str) -> FloatVector:
        self.asked.append(text)
        words = text.lower().split()
        if not words:
            raise SpecialistError("empty input")
        if len(words) > 40:
            raise SpecialistError("input too long")
        seeds = (zlib.crc32(word.encode(), self.seed) for word in words)
        vector = np.sum([np.random.default_rng(seed).normal(size=self.dimension) for seed in seeds], axis=0)
        unit: FloatVector = (vector / np.linalg.norm(vector)).astype(np.float32)
        return unit


def harvested(
    text: str, answer: str, *, at: float = 0.0, held_out: bool = False, match: MatchKind = "fingerprint"
) -> Row:
    return Row(
        request_id=f"{at}-{text}",
        at=at,
        task="task-1",
        match=match,
        model="gpt-4o",
        template="feed",
        template_text="sort the ticket",
        contract_hash="g",
        text=text,
        answer=answer,
        messages=b"[]",
        is_held_out=held_out,
        propensity=0.3,
        scope="tenant:shop",
    )


def tickets(
    count: int, *, start: int = 0, held_out_share: float = 0.3, noise: float = 0.0, shift: int = 0
) -> list[Row]:
    """Return rows of a task which words decide, but for a share `noise` of random answers.

    `start` is the number and the time of the first row; `shift` turns every answer into
    another one, as a teacher does who has changed his mind.
    """
    rows = []
    for n in range(start, start + count):
        draw = random.Random(n)
        kind = draw.randrange(3)
        text = f"my {draw.choice(WORDS[kind].split())} {draw.choice(WORDS[kind].split())} case {n}"
        answer = draw.choice(ANSWERS) if draw.random() < noise else ANSWERS[(kind + shift) % 3]
        rows.append(harvested(text, answer, at=float(n), held_out=draw.random() < held_out_share))
    return rows


class Home:
    """The stores of one home, and learners over them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.encoder = ToyEncoder()
        self.now = 20_000.0
        self.footprint: Footprint | None = None
        self.resources = resources_of(self.encoder)
        self._database = Database(folder / "state.db")
        self._outbox = Outbox(folder / "harvest" / "worker-0.db")
        self.stores = Stores(
            harvest=HarvestReader(folder / "harvest"),
            registry=Registry(folder / "registry"),
            certifications=CertificationStore(self._database),
            tasks=TaskStore(self._database),
            templates=TemplateStore(self._database),
            pins=PinStore(self._database),
            imports=ImportLog(self._database),
            reviews=ReviewStore(self._database, clock=lambda: self.now),
        )

    def harvest(self, rows: Sequence[Row]) -> None:
        for row in rows:
            self._outbox.put(row)
        self._outbox.flush()

    def learner(
        self,
        alpha: float = 0.1,
        constraints: Constraints = UNCONSTRAINED,
        *,
        evidence: Source = "live",
    ) -> Learner:
        builder = VersionBuilder(
            recipes=[recipe.create(recipe.Config())],
            registry=self.stores.registry,
            open_runtime=lambda _, folder: runtime.create(folder, self.resources),
            measure=lambda *_: self.footprint,
            resources=self.resources,
            workspaces=self.folder / "learn",
            config=CONFIG,
        )
        target = RiskTarget(alpha, 0.1, evidence=evidence)
        return Learner(
            self.stores,
            builder,
            self.encoder,
            lambda _: (Requirement(target, constraints),),
            CONFIG,
            clock=lambda: self.now,
        )

    def change_encoder(self, name: str) -> None:
        """Let every learner from now on run another encoder."""
        self.encoder = ToyEncoder(name)
        self.resources = resources_of(self.encoder)

    def certification(self) -> Certification:
        return self.stores.certifications.of("task-1")

    def certificate(self, stratum: Stratum = "new") -> Certificate:
        """Return the only certificate of a stratum."""
        (found,) = [each for each in self.certification().certificates if each.stratum == stratum]
        return found

    def alarm(self, at: float) -> None:
        """Put every certificate of the task into alarm, with evidence from before `at` void."""
        old = self.certification()
        certificates = tuple(
            msgspec.structs.replace(each, stage="alarm", threshold=None, valid_from=at, attempts=0)
            for each in old.certificates
        )
        self.stores.certifications.put(
            msgspec.structs.replace(old, epoch=old.epoch + 1, certificates=certificates)
        )

    def unsettle(self, coverage: float) -> None:
        """Let every certificate in force serve only `coverage`, with too little evidence for more."""
        old = self.certification()
        certificates = tuple(
            msgspec.structs.replace(each, coverage=coverage, is_settled=False) for each in old.certificates
        )
        self.stores.certifications.put(msgspec.structs.replace(old, certificates=certificates))

    def close(self) -> None:
        self._outbox.close()
        self._database.close()


@pytest.fixture
def encoder() -> ToyEncoder:
    return ToyEncoder()


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    opened = Home(tmp_path)
    yield opened
    opened.close()


def bench_of(encoder: ToyEncoder, folder: Path, seed: int = 0) -> Workspace:
    return Workspace(folder=folder, seed=seed, resources=resources_of(encoder))


Train = Callable[[Sequence[Row]], runtime.HeadRuntime]


@pytest.fixture
def train(tmp_path: Path, encoder: ToyEncoder) -> Train:
    """Return a function from rows to the trained specialist at work."""

    def trained(rows: Sequence[Row]) -> runtime.HeadRuntime:
        lessons = TrainingSet.of(rows)
        recipe.create(recipe.Config()).train(lessons, tmp_path, bench_of(encoder, tmp_path))
        return runtime.create(tmp_path, resources_of(encoder))

    return trained
