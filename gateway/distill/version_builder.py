"""One task's next version: choose the recipe and the rows, train, publish."""

from __future__ import annotations

import logging
import math
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from gateway.confidence.agreement import canonical_text
from gateway.confidence.deferral import Scorer
from gateway.core import EXACT, Footprint, RiskTarget
from gateway.distill.base import Config, Recipe, TrainingSet, Workspace
from gateway.distill.choice import Choice
from gateway.distill.deferral import fit_deferral
from gateway.distill.earlier_versions import EarlierVersions, MeasureFootprint
from gateway.distill.encoder_change import describe_other_encoder
from gateway.distill.engine_change import describe_other_model
from gateway.distill.imported import METRIC
from gateway.distill.lesson_owners import write_lesson_owners
from gateway.distill.prospects import Candidate
from gateway.distill.validated import read_validation, write_validation
from gateway.errors import RegistryError, TrainingError
from gateway.harvest.base import Row
from gateway.registry.manifest import Manifest
from gateway.registry.models import Registry
from gateway.specialists.base import Runtime
from gateway.specialists.learnt import read_learnt_texts, write_learnt_texts
from gateway.specialists.shared_resources import SharedResources

logger = logging.getLogger(__name__)

OpenRuntime = Callable[[str, Path], Runtime]
"""The runtime of a name for a folder of files, as the model host would open it."""


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
        measure: MeasureFootprint = lambda *_: None,
        resources: SharedResources,
        workspaces: Path,
        config: Config,
    ) -> None:
        self._recipes = recipes
        self._registry = registry
        self._open_runtime = open_runtime
        self._measure = measure
        self._earlier = EarlierVersions(registry, measure)
        self._stock = resources
        self._benches = workspaces
        self._config = config
        self._scorer = Scorer()

    def growth(self, name: str) -> float:
        """Return how much the rows of a task must grow for a new version by the recipe `name`."""
        return max([self._config.growth, *(one.growth for one in self._recipes if one.name == name)])

    def keep_recipe(self, task: str, name: str, rows: Sequence[Row]) -> Choice | None:
        """Return the choice of all `rows` and the slow recipe `name`, validated as its last version was.

        None if the recipe or its last version is gone, or if it is quick: then it is validated afresh.
        """
        slow = [recipe for recipe in self._recipes if recipe.growth > self._config.growth]
        recipes = [recipe for recipe in slow if recipe.name == name]
        versions = self._registry.versions(task)
        if not recipes or not versions:
            return None
        last = read_validation(self._registry.folder(task, versions[-1]))
        return Choice(rows=rows, recipe=recipes[0], validation=last.result, deferral=last.deferral)

    def choose(
        self,
        task: str,
        rows: Sequence[Row],
        targets: Sequence[RiskTarget],
        valid_from: float,
        served_from: float = math.inf,
        *,
        may_take: Callable[[Footprint], bool] = lambda _: True,
    ) -> Choice:
        """Return the best way to learn `rows`: by the quickest recipe which does well enough.

        How well is measured by the strictest of `targets`, on rows that came from `valid_from` on and,
        where these are enough, before `served_from`: later ones are what a version left to the teacher.
        Recipes whose last version took more than it may take, and still does, are left out.
        Raises TrainingError when no recipe can learn such answers.
        """
        strictest = min(targets, default=RiskTarget())
        workspace = self._workspace(task, targets)
        fresh = [row for row in rows if row.at >= valid_from]
        candidates = [rows] if len(fresh) == len(rows) else [rows, fresh]
        asked = self._ask(fresh, served_from)
        choices: list[Choice] = []
        problems = []
        texts = [row.text for row in rows]
        for recipe in self._candidates(candidates):
            if took := self._earlier.find_excess(task, recipe.name, texts, may_take):
                problems.append(f"{recipe.name}: its last version took {took.describe()}")
                continue
            if choices and len(rows) < self._config.slow_recipe_rows:
                break
            try:
                choices.append(self._rehearsed(workspace, recipe, candidates, asked, strictest.agreement))
            except TrainingError as fault:
                problems.append(f"{recipe.name}: {fault}")
                continue
            if choices[-1].coverage_for(strictest) >= self._config.enough_coverage:
                break
        if not choices:
            raise TrainingError("; ".join(problems))
        best = max(choices, key=lambda choice: choice.coverage_for(strictest))
        return msgspec.structs.replace(best, targets=targets)

    def publish(self, draft: Manifest, choice: Choice) -> None:
        """Train as chosen and publish as `draft` says, with all that a later judgment needs.

        Raises TrainingError or RegistryError.
        """
        with tempfile.TemporaryDirectory(prefix="stepdown-study-") as name:
            folder, lessons = Path(name), TrainingSet.of(choice.rows)
            workspace = self._workspace(draft.task, choice.targets)
            report = choice.recipe.train(lessons, folder, workspace)
            # Weights that went on from others know what these had learnt, too.
            parent = self._earlier.find_folder(draft.task, draft.recipe) if report.has_parent else None
            write_learnt_texts(lessons.texts, folder, read_learnt_texts(parent) if parent else ())
            write_lesson_owners(choice.rows, folder, parent)
            write_validation(choice.validation, choice.deferral, folder)
            manifest = msgspec.structs.replace(
                draft,
                rows=report.rows,
                answers=report.answers,
                metrics={**draft.metrics, **report.metrics},
                served_model=report.served_model,
                footprint=self._measure(draft.runtime, folder, lessons.texts),
            )
            self._registry.publish(manifest, folder)

    def find_change(self, task: str, version: int | None) -> str:
        """Return why a version cannot draft here: another encoder, or another model on its engine."""
        if version not in self._registry.versions(task):
            return ""
        return self._describe_change(self._registry.read(task, version))

    def newest_manifest(self, task: str, after: int = 0) -> Manifest | None:
        """Return the manifest of the newest version, None if none came `after`, or it cannot draft here."""
        versions = self._registry.versions(task)
        if not versions or versions[-1] <= after or self.find_change(task, versions[-1]):
            return None
        return self._registry.read(task, versions[-1])

    def delete_damaged(self, task: str, version: int) -> str:
        """Delete a version that cannot serve; return what is wrong with it, empty if nothing is."""
        try:
            manifest = self._registry.verify(task, version)[0]
            wrong = self._describe_change(manifest)
        except RegistryError as exc:
            wrong = str(exc)
        if wrong:
            self._registry.delete(task, version)
        return wrong and f"version {version} was deleted: {wrong}"

    @contextmanager
    def open_version(self, task: str, version: int, digest: str = "") -> Iterator[Candidate]:
        """Give a published version, with that `digest` if given, for a block. Raises RegistryError."""
        manifest, folder = self._registry.verify(task, version, digest)
        validation = read_validation(folder)
        runtime = self._open_runtime(manifest.runtime, folder)
        try:
            yield Candidate(
                version=version,
                runtime=runtime,
                learnt=read_learnt_texts(folder),
                deferral=validation.deferral,
                footprint=manifest.footprint,
                validation=validation.result,
                is_imported=METRIC in manifest.metrics,
            )
        finally:
            runtime.close()

    def manifest(
        self, task: str, recipe: Recipe, metrics: Mapping[str, float], *, after: int = 0
    ) -> Manifest:
        """Return the manifest of the version to make next.

        Its number is greater than `after`, too: a registry that was lost must not give one again that a
        model host may still have in memory.
        """
        version = max(self._registry.next_version(task), after + 1)
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

    def _describe_change(self, manifest: Manifest) -> str:
        folder = self._registry.folder(manifest.task, manifest.version)
        return describe_other_encoder(manifest, self._stock.encoder) or describe_other_model(
            manifest, folder, self._stock.remote_engines
        )

    def _candidates(self, candidates: Sequence[Sequence[Row]]) -> list[Recipe]:
        """Return the recipes for any of the `candidates`, the quickest first. Raises TrainingError."""
        lessons = [TrainingSet.of(rows) for rows in candidates if rows]
        able = [recipe for recipe in self._recipes if any(map(recipe.can_learn, lessons))]
        if not able:
            known = "; ".join(f"{recipe.name} learns {recipe.learns}" for recipe in self._recipes)
            raise TrainingError(f"no recipe can learn answers like these: {known}")
        return [recipe for recipe in able if not recipe.is_general] or able

    def _rehearsed(
        self,
        workspace: Workspace,
        recipe: Recipe,
        candidates: Sequence[Sequence[Row]],
        asked: Sequence[Row],
        agreement: str,
    ) -> Choice:
        """Return which of the `candidates` to learn: the one that teaches more about what is `asked`.

        None of them sees that before. Raises TrainingError.
        """
        ids = {row.request_id for row in asked}
        exam = TrainingSet.of(asked)
        learnable, validations, problem = [], [], TrainingError("there is no row to learn")
        for candidate in candidates:
            lessons = TrainingSet.of([row for row in candidate if row.request_id not in ids])
            try:
                validations.append(recipe.validate(lessons, exam, workspace))
                learnable.append(candidate)
            except TrainingError as exc:
                # The answers may have another form since the alarm, and only the later ones can be learnt.
                problem = exc
        if not learnable:
            raise problem
        judged = [validation.by_agreement(agreement) for validation in validations]
        best = min(range(len(learnable)), key=lambda i: sum(judged[i].losses))
        deferral, scored = fit_deferral(judged[best], self._scorer, self._config.seed)
        validation = msgspec.structs.replace(validations[best], scores=scored.scores)
        findings = f"a student by {recipe.name} of {len(learnable[best])} rows agrees in {scored.agreed:.1%}"
        logger.info("%s: %s of its exam", workspace.folder.name, findings)
        return Choice(rows=learnable[best], recipe=recipe, validation=validation, deferral=deferral)

    def _ask(self, rows: Sequence[Row], served_from: float) -> list[Row]:
        """Return which of `rows` to validate on.

        They are drawn by text, so that most of what one rehearsal asks none before has learnt.
        """
        typical = [row for row in rows if row.at < served_from]
        drawn = typical if len(typical) >= self._config.first_rows else rows
        return [row for row in drawn if self._is_asked(row)]

    def _is_asked(self, row: Row) -> bool:
        key = f"{self._config.seed} {canonical_text(row.text)}".encode("utf-8", "replace")
        return zlib.crc32(key) < self._config.validation_share * 2**32

    def _workspace(self, task: str, targets: Sequence[RiskTarget] = ()) -> Workspace:
        folder = self._benches / task
        folder.mkdir(parents=True, exist_ok=True)
        agreements = sorted({target.agreement for target in targets} - {EXACT})
        alphas = sorted({target.alpha for target in targets}) or [RiskTarget().alpha]
        return Workspace(
            folder=folder,
            seed=self._config.seed,
            resources=self._stock,
            agreements=agreements,
            alphas=alphas,
        )
