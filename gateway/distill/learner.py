"""The learner: takes every task one step further whenever its harvest has grown enough."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import msgspec
import numpy as np

from gateway.confidence.sample_size import audits_to_settle
from gateway.core import Lane, Route, Standing
from gateway.distill.base import Config, Event, EventKind, RiskTarget
from gateway.distill.curate import curate
from gateway.distill.task_rows import TaskRows
from gateway.distill.version_builder import Choice, VersionBuilder
from gateway.errors import RegistryError, SpecialistError, TrainingError
from gateway.harvest.base import Row
from gateway.harvest.reader import Count, HarvestReader
from gateway.registry.models import Registry
from gateway.specialists.base import Encoder
from gateway.store.standings import StandingStore
from gateway.store.tasks import TaskStore

LANES: tuple[Lane, ...] = ("fingerprint", "embedding")


class Stores(msgspec.Struct, frozen=True, kw_only=True):
    """What the learner reads and writes."""

    harvest: HarvestReader
    registry: Registry
    standings: StandingStore
    tasks: TaskStore


class Learner:
    """Adopts tasks, trains their specialists and certifies them, one step at a time.

    One learner a home; it may be stopped and started at any time, since what it has done is
    read from the registry and the standings. `risk_target_of` gives the policy's alpha and delta
    for a model's name.
    """

    def __init__(
        self,
        stores: Stores,
        builder: VersionBuilder,
        encoder: Encoder,
        risk_target_of: Callable[[str], RiskTarget],
        config: Config,
    ) -> None:
        self._stores = stores
        self._builder = builder
        self._encoder = encoder
        self._promise_of = risk_target_of
        self._config = config
        self._rows_by_task: dict[str, TaskRows] = {}
        self._looked: dict[str, tuple[Count, int]] = {}
        self._progress: dict[str, _Progress] = {}

    def step(self) -> list[Event]:
        """Look at every task once and return what was done; may take minutes.

        Costs one count of the harvest when nothing has changed.
        """
        self._stores.standings.refresh()
        self._stores.tasks.refresh()
        events: list[Event] = []
        for task, count in self._stores.harvest.counts().items():
            look = count, self._epoch(task)
            if self._looked.get(task) != look:
                self._looked[task] = look
                events += self._look(task, count)
        return events

    def _look(self, task: str, count: Count) -> Iterator[Event]:
        if count.training + count.held_out < self._config.adopt_rows:
            return
        try:
            if task not in self._stores.tasks:
                yield self._adopt(task)
            # Rows since an alarm are at most all rows: most looks end before any is read.
            if self._is_due(task, count) and self._is_due(task, self._grown(task)):
                yield from self._advance(task)
        except (TrainingError, RegistryError) as fault:
            yield self._postpone(task, str(fault))

    def _adopt(self, task: str) -> Event:
        row = self._task_rows(task).newest()
        assert row is not None
        self._stores.tasks.put(task, row.contract_hash, row.template_text, self._vector(row), row.model)
        return Event(task=task, kind="adopted", detail=row.model)

    def _vector(self, row: Row) -> bytes:
        """Return the template's unit vector; zeros, which resemble nothing, where it has none."""
        try:
            vector = np.asarray(self._encoder.encode(row.template_text), np.float32)
        except SpecialistError:
            vector = np.zeros(self._encoder.dimension, np.float32)
        return vector.tobytes()

    def _is_due(self, task: str, count: Count) -> bool:
        """Whether `count` rows are worth a new version."""
        last = self._last(task)
        growth = self._builder.growth(last.recipe)
        is_enough = count.training >= self._config.rows_needed(last.training, growth)
        if is_enough or self._may_settle(task, count, last):
            return True
        waits = any(not standing.serves for standing in self._stored(task).values())
        has_more = count.held_out >= growth * max(last.held_out, 1)
        return waits and has_more and count.training >= self._config.first_rows

    def _may_settle(self, task: str, count: Count, last: _Progress) -> bool:
        """Whether a live task has got the evidence for an attempt with full power since its last version.

        Since: evidence that is spread over lanes settles none of them, and asking again at
        every look would spend delta for nothing.
        """
        return any(
            standing.serves
            and not standing.is_settled
            and last.held_out < audits_to_settle(standing.alpha, standing.delta) <= count.held_out
            for standing in self._stored(task).values()
        )

    def _advance(self, task: str) -> list[Event]:
        """Make the next version of `task`. Raises TrainingError or RegistryError."""
        task_rows, grown, last = self._task_rows(task), self._grown(task), self._last(task)
        progress = msgspec.structs.replace(last, training=grown.training, held_out=grown.held_out)
        # Noted first: what could not be learnt is tried again when there is more of it, not at once.
        self._progress[task] = progress
        curated = curate(task_rows.training(), task_rows.evidence())
        promise = self._promise_of(curated.training[-1].model)
        standings = self._standings(task, {row.lane for row in curated.evidence})
        choice = self._choose(task, curated.training, standings, last.recipe, promise)
        self._progress[task] = progress = msgspec.structs.replace(progress, recipe=choice.recipe.name)
        draft = self._builder.manifest(task, choice.recipe, progress.metrics())
        runtime = self._builder.publish(draft, choice)
        try:
            results = self._builder.evaluate(
                runtime,
                version=draft.version,
                standings=standings,
                evidence=curated.evidence,
                choice=choice,
                promise=promise,
            )
        finally:
            runtime.close()
        return [self._put(draft.version, standings[new.lane], new) for new in results]

    def _choose(
        self, task: str, rows: list[Row], standings: Mapping[Lane, Standing], recipe: str, promise: RiskTarget
    ) -> Choice:
        """Return what to learn and how. Raises TrainingError."""
        valid_from = self._valid_from(task)
        live = [standing for standing in standings.values() if standing.serves]
        # A live task that does well and never was in alarm has nothing to choose, and no first
        # attempt to judge.
        is_well = all(standing.coverage >= self._config.enough_coverage for standing in live)
        if valid_from == 0.0 and len(live) == len(standings) and is_well:
            deferral = next(standing.deferral for standing in live)
            if kept := self._builder.kept_to(recipe, rows, deferral):
                return kept
        return self._builder.choose(task, rows, valid_from, promise)

    def _postpone(self, task: str, why: str) -> Event:
        """Leave the reason where status reports look; what is live stays live."""
        for old in self._standings(task, set()).values():
            if not old.serves:
                self._stores.standings.put_if(old.epoch, msgspec.structs.replace(old, note=why))
        return Event(task=task, kind="postponed", detail=why)

    def _put(self, version: int, old: Standing, new: Standing) -> Event:
        is_put = self._stores.standings.put_if(old.epoch, new)
        return Event(
            task=new.task,
            kind=_outcome(version, new) if is_put else "overtaken",
            version=version,
            detail=f"{new.lane}: {new.note}" if is_put else f"{new.lane}: an alarm came first",
        )

    def _task_rows(self, task: str) -> TaskRows:
        """Return the rows of `task`, up to date."""
        task_rows = self._rows_by_task.setdefault(task, TaskRows(task, self._config.max_rows))
        task_rows.read(self._stores.harvest)
        return task_rows

    def _grown(self, task: str) -> Count:
        """Return the rows of `task` since its last alarm."""
        return self._task_rows(task).grown(self._valid_from(task))

    def _stored(self, task: str) -> Mapping[Lane, Standing]:
        standings = self._stores.standings.all()
        return {standing.lane: standing for standing in standings if standing.task == task}

    def _standings(self, task: str, lanes: set[Lane]) -> Mapping[Lane, Standing]:
        """Return the standings of every lane that has one or could earn one; never empty."""
        wanted = lanes | set(self._stored(task)) or {LANES[0]}
        return {lane: self._stores.standings.of(Route(task, lane)) for lane in LANES if lane in wanted}

    def _epoch(self, task: str) -> int:
        """Return how many alarms `task` has had in all lanes."""
        return sum(standing.epoch for standing in self._stored(task).values())

    def _valid_from(self, task: str) -> float:
        return max((standing.valid_from for standing in self._stored(task).values()), default=0.0)

    def _last(self, task: str) -> _Progress:
        """Return what the last version of this epoch had seen, by memory or by its manifest."""
        if task not in self._progress:
            versions = self._stores.registry.versions(task)
            manifest = self._stores.registry.read(task, versions[-1]) if versions else None
            metrics, recipe = (manifest.metrics, manifest.recipe) if manifest else ({}, "")
            self._progress[task] = _Progress.of(metrics, recipe)
        progress, epoch = self._progress[task], self._epoch(task)
        return progress if progress.epoch == epoch else _Progress(epoch=epoch, recipe=progress.recipe)


class _Progress(msgspec.Struct, frozen=True, kw_only=True):
    """A version's recipe, and the rows before it, counted since the alarm that began its epoch."""

    epoch: int = 0
    training: int = 0
    held_out: int = 0
    recipe: str = ""

    @classmethod
    def of(cls, metrics: Mapping[str, float], recipe: str) -> _Progress:
        return cls(**{name: int(metrics.get(name, 0)) for name in _COUNTED}, recipe=recipe)

    def metrics(self) -> dict[str, float]:
        return {name: float(getattr(self, name)) for name in _COUNTED}


_COUNTED = ("epoch", "training", "held_out")


def _outcome(version: int, standing: Standing) -> EventKind:
    if not standing.serves:
        return "trained"
    return "certified" if standing.version == version else "kept"
