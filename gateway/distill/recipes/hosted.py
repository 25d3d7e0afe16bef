"""The recipe `hosted`: a model that an engine elsewhere serves, shown some of the teacher's answers."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import msgspec

from gateway.confidence.deferral import Scorer
from gateway.config.bounds import PositiveInt
from gateway.distill.base import EvalResult, Report, TrainingSet, Workspace
from gateway.distill.cached_encoder import sampled_vectors
from gateway.distill.engine_change import identify_engine
from gateway.distill.evaluation import evaluate
from gateway.specialists import knn
from gateway.specialists.runtimes import openai

_MOST_DRAFTS = 400
"""Drafts to validate a version: more of them would say little more."""
_SHORT_ANSWER = 64
"""Tokens of an answer up to which it is decided on as a whole, before any of it is sent."""
_MOST_NEW_TOKENS = 512
_LONGEST_SHOT_CHARS = 2_000


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the recipe."""

    engine: str = ""
    """A name in `[specialists.engines]`; without one the recipe is left out."""
    instruction: str = ""
    """A system message before the examples. The teacher's own prompt is never sent there."""
    shots: int = 16
    """Of the teacher's answers shown with each text, as different ones as there are; 0 for a model that
    was trained on the task."""
    hold_back: PositiveInt = 32
    """Tokens at the beginning of a long answer on which the gate decides."""


def create(config: Config) -> HostedRecipe:
    """Return the recipe."""
    return HostedRecipe(config)


class HostedRecipe:
    """Trains nothing: it finds out how well a model elsewhere answers in the teacher's place."""

    name = "hosted"
    runtime = "openai"
    learns = "any answer, where its `engine` names a model elsewhere"
    is_general = True
    growth = 1.6

    def __init__(self, config: Config) -> None:
        self._config = config

    def can_learn(self, rows: TrainingSet) -> bool:
        """Return whether there is an engine: a decoder can write any answer."""
        return bool(self._config.engine)

    def validate(self, lessons: TrainingSet, exam: TrainingSet, workspace: Workspace) -> EvalResult:
        """Return how the engine's model does on the newest of `exam`. Raises TrainingError."""
        with tempfile.TemporaryDirectory(prefix="stepdown-hosted-") as name:
            folder = Path(name)
            self._write(lessons, folder, workspace)
            runtime = openai.create(folder, workspace.resources)
            newest = exam.select(range(max(0, len(exam.texts) - _MOST_DRAFTS), len(exam.texts)))
            return evaluate(runtime, newest, Scorer(), agreements=workspace.agreements)

    def train(self, lessons: TrainingSet, folder: Path, workspace: Workspace) -> Report:
        """Write card and neighbors into `folder`. Raises TrainingError if the engine does not answer."""
        card = self._write(lessons, folder, workspace)
        return Report(
            rows=len(lessons.texts),
            answers=len(set(lessons.answers)),
            served_model=f"{card.engine}: {card.identity}",
        )

    def _write(self, lessons: TrainingSet, folder: Path, workspace: Workspace) -> openai.Card:
        lengths = sorted(_lengths_of(lessons))
        is_short = lengths[len(lengths) * 95 // 100] <= _SHORT_ANSWER
        card = openai.Card(
            engine=self._config.engine,
            identity=identify_engine(self._config.engine, workspace.resources.remote_engines),
            max_new_tokens=min(_MOST_NEW_TOKENS, lengths[-1] + 16),
            hold_back=None if is_short else self._config.hold_back,
            opening=tuple(self._open(lessons)),
        )
        openai.write_card(card, folder)
        encoder = workspace.resources.encoder
        knn.write_neighbors(sampled_vectors(lessons.texts, encoder, workspace.seed), folder)
        return card

    def _open(self, lessons: TrainingSet) -> Iterator[dict[str, str]]:
        if self._config.instruction:
            yield {"role": "system", "content": self._config.instruction}
        for text, answer in choose_shots(lessons, self._config.shots):
            yield {"role": "user", "content": text}
            yield {"role": "assistant", "content": answer}


def choose_shots(lessons: TrainingSet, shots: int) -> list[tuple[str, str]]:
    """Return `shots` lessons, the newest first of each answer, the most frequent answers first."""
    by_answer: defaultdict[str, list[str]] = defaultdict(list)
    for text, answer in zip(lessons.texts, lessons.answers, strict=True):
        if len(text) + len(answer) <= _LONGEST_SHOT_CHARS:
            by_answer[answer].append(text)
    answers = sorted(by_answer, key=lambda answer: (-len(by_answer[answer]), answer))
    chosen: list[tuple[str, str]] = []
    while answers and len(chosen) < shots:
        chosen += [(by_answer[answer].pop(), answer) for answer in answers[: shots - len(chosen)]]
        answers = [answer for answer in answers if by_answer[answer]]
    return chosen


def _lengths_of(lessons: TrainingSet) -> list[int]:
    """Return tokens per answer as the teacher counted them; where it did not, two characters make one."""
    counted = lessons.completion_tokens or [0] * len(lessons.texts)
    return [tokens or len(answer) // 2 for tokens, answer in zip(counted, lessons.answers, strict=True)]
