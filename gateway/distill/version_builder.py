"""One task's next version: choose the recipe and the lessons, train, publish, and see what it may do."""

from __future__ import annotations

import logging
import math
import tempfile
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from gateway.confidence.agreement import canonical_text
from gateway.confidence.deferral import Scorer
from gateway.confidence.learn_then_test import STARTS
from gateway.confidence.sample_size import (
    audits_needed,
    audits_to_settle,
    delta_for_attempt,
    power_to_certify,
)
from gateway.core import Deferral, Lane, Standing
from gateway.distill.base import Config, EvalResult, Recipe, RiskTarget, TrainingSet, Workspace
from gateway.distill.certify import certify_version, shadow_version
from gateway.distill.deferral import fit_deferral
from gateway.distill.evaluation import evaluate
from gateway.errors import TrainingError
from gateway.harvest.base import Row
from gateway.registry.manifest import Manifest
from gateway.registry.models import Registry
from gateway.specialists.base import Runtime
from gateway.specialists.shared_resources import SharedResources

logger = logging.getLogger(__name__)

_ENOUGH_EVIDENCE = 4
"""Times what settles a task: the newest so many rows are scored. More would loosen nothing, and
a decoder drafts ten a second."""

OpenRuntime = Callable[[str, Path], Runtime]
"""The runtime of a name for a folder of files, as the model host would open it."""


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """What to learn and how, and how a student of most of it did on the rest (None: not asked)."""

    rows: Sequence[Row]
    recipe: Recipe
    validation: EvalResult | None = None
    deferral: Deferral | None = None


class VersionBuilder:
    """Everything that one task needs to get its next version.

    `recipes` are the quickest first; `workspaces` is the folder of the tasks' benches.
    """

    def __init__(
        self,
        *,
        recipes: Sequence[Recipe],
        registry: Registry,
        open_runtime: OpenRuntime,
        resources: SharedResources,
        workspaces: Path,
        config: Config,
    ) -> None:
        self._recipes = recipes
        self._registry = registry
        self._open_runtime = open_runtime
        self._stock = resources
        self._benches = workspaces
        self._config = config
        self._scorer = Scorer()

    def growth(self, name: str) -> float:
        """Return how much the rows of a task must grow for a new version by the recipe `name`."""
        return max([self._config.growth, *(one.growth for one in self._recipes if one.name == name)])

    def kept_to(self, name: str, rows: Sequence[Row], deferral: Deferral | None) -> Choice | None:
        """Return the choice of all `rows` and the recipe `name` without a question; None if it is gone."""
        recipes = [recipe for recipe in self._recipes if recipe.name == name]
        return Choice(rows=rows, recipe=recipes[0], deferral=deferral) if recipes else None

    def choose(self, task: str, rows: Sequence[Row], valid_from: float, promise: RiskTarget) -> Choice:
        """Return the best way to learn `rows`: by the quickest recipe that does well enough.

        Raises TrainingError when no recipe can learn such answers.
        """
        choices: list[Choice] = []
        problems = []
        for recipe in self._candidates(TrainingSet.of(rows)):
            if choices and len(rows) < self._config.slow_recipe_rows:
                break
            try:
                choices.append(self._rehearsed(task, recipe, rows, valid_from))
            except TrainingError as fault:
                problems.append(f"{recipe.name}: {fault}")
                continue
            if _coverage(choices[-1], promise) >= self._config.enough_coverage:
                break
        if not choices:
            raise TrainingError("; ".join(problems))
        return max(choices, key=lambda choice: _coverage(choice, promise))

    def publish(self, draft: Manifest, choice: Choice) -> Runtime:
        """Train as chosen, publish as `draft` says, and return the published files at work.

        Raises TrainingError or RegistryError.
        """
        with tempfile.TemporaryDirectory(prefix="stepdown-study-") as folder:
            report = choice.recipe.train(
                TrainingSet.of(choice.rows), Path(folder), self._workspace(draft.task)
            )
            manifest = msgspec.structs.replace(
                draft, rows=report.rows, answers=report.answers, metrics={**draft.metrics, **report.metrics}
            )
            self._registry.publish(manifest, Path(folder))
        _, published = self._registry.verify(draft.task, draft.version)
        return self._open_runtime(draft.runtime, published)

    def manifest(self, task: str, recipe: Recipe, metrics: Mapping[str, float]) -> Manifest:
        """Return the manifest of the version to make next."""
        version = self._registry.next_version(task)
        return Manifest(
            task=task,
            version=version,
            runtime=recipe.runtime,
            encoder=self._stock.encoder.name,
            created_at=time.time(),
            recipe=recipe.name,
            seed=self._config.seed,
            rows=0,
            answers=0,
            parent=version - 1 or None,
            metrics=dict(metrics),
        )

    def evaluate(
        self,
        runtime: Runtime,
        *,
        version: int,
        standings: Mapping[Lane, Standing],
        evidence: Sequence[Row],
        choice: Choice,
        promise: RiskTarget,
    ) -> list[Standing]:
        """Return what `version` may do in each lane; an attempt is made only where it may well succeed."""
        attempt = 1 + max(standing.attempts for standing in standings.values())
        level = delta_for_attempt(promise.delta, attempt) / len(standings)
        results = []
        for lane, old in standings.items():
            rows = [row for row in evidence if row.lane == lane and row.at >= old.valid_from]
            rows = rows[-_ENOUGH_EVIDENCE * audits_to_settle(promise.alpha, promise.delta) :]
            scored = evaluate(runtime, TrainingSet.of(rows), self._scorer, choice.deferral)
            if old.serves or self._is_promising(len(rows), choice, promise.alpha, level):
                new = certify_version(old, version, scored, promise, level, deferral=choice.deferral)
                is_settled = len(rows) >= audits_to_settle(promise.alpha, promise.delta)
                results.append(msgspec.structs.replace(new, attempts=attempt, is_settled=is_settled))
            else:
                new = shadow_version(old, version, scored, promise, level, deferral=choice.deferral)
                results.append(self._with_outlook(new, choice, promise.alpha, level))
        return results

    def _candidates(self, rows: TrainingSet) -> list[Recipe]:
        """Return the recipes for answers like those in `rows`, the quickest first. Raises TrainingError."""
        able = [recipe for recipe in self._recipes if recipe.can_learn(rows)]
        if not able:
            names = ", ".join(recipe.name for recipe in self._recipes)
            raise TrainingError(f"no recipe can learn answers like these; asked: {names}")
        return [recipe for recipe in able if not recipe.is_general] or able

    def _rehearsed(self, task: str, recipe: Recipe, rows: Sequence[Row], valid_from: float) -> Choice:
        """Return which of `rows` to learn: all, or only those since `valid_from` when these teach better.

        The question is settled by a share of the fresh rows, which neither candidate sees. The
        share is drawn by text, so that most of what one rehearsal asks none before has learnt.
        Raises TrainingError.
        """
        fresh = [row for row in rows if row.at >= valid_from]
        asked = {row.request_id for row in fresh if self._is_asked(row)}
        exam = TrainingSet.of([row for row in fresh if row.request_id in asked])
        candidates = [rows] if len(fresh) == len(rows) else [rows, fresh]
        validations = [
            recipe.validate(
                TrainingSet.of([row for row in candidate if row.request_id not in asked]),
                exam,
                self._workspace(task),
            )
            for candidate in candidates
        ]
        best = min(range(len(candidates)), key=lambda i: sum(validations[i].losses))
        deferral, validation = fit_deferral(validations[best], self._scorer, self._config.seed)
        logger.info("%s: %s", task, _findings(recipe, len(candidates[best]), validation))
        return Choice(rows=candidates[best], recipe=recipe, validation=validation, deferral=deferral)

    def _is_asked(self, row: Row) -> bool:
        key = f"{self._config.seed} {canonical_text(row.text)}".encode("utf-8", "replace")
        return zlib.crc32(key) < self._config.validation_share * 2**32

    def _workspace(self, task: str) -> Workspace:
        folder = self._benches / task
        folder.mkdir(parents=True, exist_ok=True)
        return Workspace(folder=folder, seed=self._config.seed, resources=self._stock)

    def _with_outlook(self, standing: Standing, choice: Choice, alpha: float, level: float) -> Standing:
        """Return `standing` asking for no fewer audits than the next attempt will."""
        coverage = self._aim(standing.audits, alpha, level)
        error = choice.validation.error_at(coverage) if choice.validation else 1.0
        accepted = audits_needed(alpha, _chain_level(level), error, self._config.min_power)
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
        attempt that was chosen by looking at the evidence would not be independent of it.
        """
        if choice.validation is None:
            return False
        coverage = self._aim(audits, alpha, level)
        error = choice.validation.error_at(coverage)
        power = power_to_certify(int(audits * coverage), alpha, _chain_level(level), error)
        return power >= self._config.min_power

    def _aim(self, audits: int, alpha: float, level: float) -> float:
        """Return the share of the traffic that an attempt should be worth: less once much was collected."""
        is_patient = audits < self._audits_before_less(alpha, level)
        return self._config.first_coverage if is_patient else self._config.first_coverage / 2

    def _audits_before_less(self, alpha: float, level: float) -> int:
        fewest = audits_needed(alpha, _chain_level(level), 0.0, self._config.min_power) or 0
        return math.ceil(self._config.halve_coverage_after * fewest / self._config.first_coverage)


def _coverage(choice: Choice, promise: RiskTarget) -> float:
    assert choice.validation is not None
    return choice.validation.coverage_at(promise.alpha)


def _findings(recipe: Recipe, rows: int, validation: EvalResult) -> str:
    agreed = 1 - sum(validation.losses) / max(1, len(validation.losses))
    return f"a student by {recipe.name} of {rows} rows agrees in {agreed:.1%} of its exam"


def _chain_level(level: float) -> float:
    """Return the level that a chain has to expect: rarely its own share alone, nor all of delta."""
    return level * 2 / STARTS
