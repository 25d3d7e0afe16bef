"""One task's next version: choose the lessons, train, publish, and see what it may do."""

from __future__ import annotations

import math
import random
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from gateway.confidence.evidence import audits_needed, audits_to_settle, delta_for_attempt, power_to_certify
from gateway.confidence.learn_then_test import STARTS
from gateway.core import Lane, Standing
from gateway.distill.base import Config, Lessons, Promise, Recipe, Scored
from gateway.distill.certify import attempted, score, shadowed
from gateway.harvest.base import Row
from gateway.registry.manifest import Manifest
from gateway.registry.models import Registry
from gateway.specialists.base import Runtime

OpenRuntime = Callable[[str, Path], Runtime]
"""The runtime of a name for a folder of files, as the model host would open it."""


class Choice(msgspec.Struct, frozen=True):
    """The rows to learn, and how a student of most of them did on the rest (None: not asked)."""

    rows: Sequence[Row]
    rehearsal: Scored | None


class Study:
    """Everything that one task needs to get its next version."""

    def __init__(
        self,
        *,
        recipe: Recipe,
        registry: Registry,
        open_runtime: OpenRuntime,
        encoder_name: str,
        config: Config,
    ) -> None:
        self._recipe = recipe
        self._registry = registry
        self._open_runtime = open_runtime
        self._encoder_name = encoder_name
        self._config = config

    def choose(self, rows: Sequence[Row], valid_from: float, seed: int) -> Choice:
        """Return which of `rows` to learn: all, or only those since `valid_from` when these teach better.

        The question is settled by a random share of the fresh rows, which neither candidate
        sees. Raises TrainingError.
        """
        fresh = [row for row in rows if row.at >= valid_from]
        draw = random.Random(seed)  # noqa: S311 - a reproducible split, not a secret
        asked = {row.request_id for row in fresh if draw.random() < self._config.exam_share}
        exam = Lessons.of([row for row in fresh if row.request_id in asked])
        candidates = [rows] if len(fresh) == len(rows) else [rows, fresh]
        rehearsals = [
            self._recipe.rehearse(
                Lessons.of([row for row in candidate if row.request_id not in asked]), exam, seed
            )
            for candidate in candidates
        ]
        best = min(range(len(candidates)), key=lambda i: sum(rehearsals[i].losses))
        return Choice(candidates[best], rehearsals[best])

    def publish(self, draft: Manifest, rows: Sequence[Row]) -> Runtime:
        """Train on `rows`, publish as `draft` says, and return the published files at work.

        Raises TrainingError or RegistryError.
        """
        with tempfile.TemporaryDirectory(prefix="stepdown-study-") as folder:
            report = self._recipe.train(Lessons.of(rows), Path(folder), draft.seed)
            manifest = msgspec.structs.replace(draft, rows=report.rows, answers=report.answers)
            self._registry.publish(manifest, Path(folder))
        _, published = self._registry.verify(draft.task, draft.version)
        return self._open_runtime(draft.runtime, published)

    def manifest(self, task: str, seed: int, metrics: Mapping[str, float]) -> Manifest:
        """Return the manifest of the version to make next."""
        version = self._registry.next_version(task)
        return Manifest(
            task=task,
            version=version,
            runtime=self._recipe.runtime,
            encoder=self._encoder_name,
            created_at=time.time(),
            recipe=self._recipe.name,
            seed=seed,
            rows=0,
            answers=0,
            parent=version - 1 or None,
            metrics=dict(metrics),
        )

    def examine(
        self,
        runtime: Runtime,
        *,
        version: int,
        standings: Mapping[Lane, Standing],
        evidence: Sequence[Row],
        choice: Choice,
        promise: Promise,
    ) -> list[Standing]:
        """Return what `version` may do in each lane; an attempt is made only where it may well succeed."""
        attempt = 1 + max(standing.attempts for standing in standings.values())
        level = delta_for_attempt(promise.delta, attempt) / len(standings)
        results = []
        for lane, old in standings.items():
            rows = [row for row in evidence if row.lane == lane and row.at >= old.valid_from]
            scored = score(runtime, rows)
            if old.serves or self._is_promising(len(rows), choice, promise.alpha, level):
                new = attempted(old, version, scored, promise, level)
                is_settled = len(rows) >= audits_to_settle(promise.alpha, promise.delta)
                results.append(msgspec.structs.replace(new, attempts=attempt, is_settled=is_settled))
            else:
                new = shadowed(old, version, scored, promise, level)
                results.append(self._with_outlook(new, choice, promise.alpha, level))
        return results

    def _with_outlook(self, standing: Standing, choice: Choice, alpha: float, level: float) -> Standing:
        """Return `standing` asking for no fewer audits than the next attempt will."""
        coverage = self._aim(standing.audits, alpha, level)
        error = choice.rehearsal.error_at(coverage) if choice.rehearsal else 1.0
        accepted = audits_needed(alpha, _chain_level(level), error, self._config.power)
        if accepted is None:
            missing = max(0, self._audits_before_less(alpha, level) - standing.audits)
            note = f"its surest {coverage:.0%} err in {error:.1%}: needs more lessons"
            note += f", or {missing} more audits to aim at less" if missing else ""
        else:
            missing = max(standing.audits_missing or 1, math.ceil(accepted / coverage) - standing.audits)
            note = f"about {missing} more audits needed"
        return msgspec.structs.replace(standing, audits_missing=missing, note=note)

    def _is_promising(self, audits: int, choice: Choice, alpha: float, level: float) -> bool:
        """Whether a first certificate is likely enough to spend delta on it.

        Judged by the rehearsal and the number of audits, never by what the audits say: an
        attempt which was chosen by looking at the evidence would not be independent of it.
        """
        if choice.rehearsal is None:
            return False
        coverage = self._aim(audits, alpha, level)
        error = choice.rehearsal.error_at(coverage)
        power = power_to_certify(int(audits * coverage), alpha, _chain_level(level), error)
        return power >= self._config.power

    def _aim(self, audits: int, alpha: float, level: float) -> float:
        """Return the share of the traffic which an attempt should be worth: less once much was collected."""
        is_patient = audits < self._audits_before_less(alpha, level)
        return self._config.coverage if is_patient else self._config.coverage / 2

    def _audits_before_less(self, alpha: float, level: float) -> int:
        fewest = audits_needed(alpha, _chain_level(level), 0.0, self._config.power) or 0
        return math.ceil(self._config.patience * fewest / self._config.coverage)


def _chain_level(level: float) -> float:
    """Return the level which a chain has to expect: rarely its own share alone, nor all of delta."""
    return level * 2 / STARTS
