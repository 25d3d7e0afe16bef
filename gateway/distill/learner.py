"""The learner: takes every task one step further whenever its harvest has grown enough."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import msgspec
import numpy as np

from gateway.core import Certification, RiskTarget
from gateway.distill.base import Config, Event, EventKind
from gateway.distill.curate import curate
from gateway.distill.judge import Judge
from gateway.distill.prospects import Candidate
from gateway.distill.renewal import (
    count_units,
    expected_share,
    is_renewal_due,
    lapse_if_due,
    warn_of_lapse,
    with_attempts_of,
)
from gateway.distill.task_rows import TaskRows, is_separate
from gateway.distill.training_progress import TrainingProgress
from gateway.distill.version_builder import Choice, VersionBuilder
from gateway.errors import RegistryError, SpecialistError, TrainingError
from gateway.harvest.base import Row
from gateway.harvest.reader import Count, HarvestReader
from gateway.registry.models import Registry
from gateway.specialists.base import Encoder
from gateway.store.certifications import CertificationStore
from gateway.store.tasks import TaskStore
from gateway.store.templates import TemplateStore

_FRESH = 0.1
"""Share of a window that must be new before a renewal is considered again: its evidence is drafted anew."""


class Stores(msgspec.Struct, frozen=True, kw_only=True):
    """What the learner reads and writes."""

    harvest: HarvestReader
    registry: Registry
    certifications: CertificationStore
    tasks: TaskStore
    templates: TemplateStore


class Learner:
    """Adopts tasks, trains their specialists and certifies them, one step at a time.

    One learner per home. It may be stopped and started at any time: what it has done is read from
    the registry and the certifications, and a version that was published but not judged is judged
    first. `risk_targets_of` returns what the policies ask of a model's specialists.
    """

    def __init__(
        self,
        stores: Stores,
        builder: VersionBuilder,
        encoder: Encoder,
        risk_targets_of: Callable[[str], Sequence[RiskTarget]],
        config: Config,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._stores = stores
        self._builder = builder
        self._encoder = encoder
        self._risk_targets_of = risk_targets_of
        self._config = config
        self._clock = clock
        self._judge = Judge(config, clock)
        self._rows_by_task: dict[str, TaskRows] = {}
        self._looked: dict[str, tuple[Count, int]] = {}
        self._progress: dict[str, TrainingProgress] = {}
        self._tried_at: dict[str, int] = {}

    def step(self) -> list[Event]:
        """Look at every task once and return what was done; may take minutes.

        Costs one count of the harvest if nothing has changed.
        """
        self._stores.certifications.refresh()
        self._stores.tasks.refresh()
        self._stores.templates.refresh()
        events: list[Event] = []
        for certification in self._stores.certifications.all():
            events += self._keep_dates(certification)
        for task, count in self._stores.harvest.came().items():
            look = count, self._of(task).epoch
            if self._looked.get(task) != look:
                self._looked[task] = look
                events += self._look(task, count)
        return events

    def _look(self, task: str, count: Count) -> Iterator[Event]:
        if count.training + count.held_out < self._config.adopt_rows:
            return
        try:
            if self._stores.tasks.get(task) is None:
                yield self._adopt(task)
            newest = max(self._stores.registry.versions(task), default=0)
            if newest > self._of(task).judged_version:
                # Published, then killed before it was judged.
                damage = self._builder.delete_damaged(task, newest)
                yield self._postpone(task, damage) if damage else self._judge_newest(task, newest)
            # Rows since an alarm are at most all rows: most looks end before any is read.
            if self._is_due(task, count) and self._is_due(task, self._grown(task)):
                yield self._advance(task)
            elif self._may_renew(task):
                yield from self._renew(task)
        except (TrainingError, RegistryError) as exc:
            yield self._postpone(task, str(exc))

    def _adopt(self, task: str) -> Event:
        row = self._task_rows(task).newest()
        assert row is not None
        self._stores.tasks.put(
            task,
            scope=row.scope,
            contract_hash=row.contract_hash,
            template_text=row.template_text,
            vector=self._vector(row),
            model=row.model,
        )
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
        if count.training >= self._config.rows_needed(last.training, growth):
            return True
        has_more = count.held_out >= growth * max(last.held_out, 1)
        is_waiting = self._of(task).stage != "live"
        return is_waiting and has_more and count.training >= self._config.first_rows

    def _advance(self, task: str) -> Event:
        """Make the next version of `task` and judge it. Raises TrainingError or RegistryError."""
        task_rows, grown, last = self._task_rows(task), self._grown(task), self._last(task)
        progress = msgspec.structs.replace(last, training=grown.training, held_out=grown.held_out)
        # Noted first: what could not be learnt is tried again when there is more of it, not at once.
        self._progress[task] = progress
        own = [row for row in task_rows.training() if not self._is_separate(row)]
        training = curate(own).training
        choice = self._choose(task, training, last.recipe)
        self._progress[task] = progress = msgspec.structs.replace(progress, recipe=choice.recipe.name)
        draft = self._builder.manifest(task, choice.recipe, progress.metrics())
        self._builder.publish(draft, choice)
        return self._judge_newest(task, draft.version)

    def _choose(self, task: str, rows: list[Row], recipe: str) -> Choice:
        """Return what to learn and how. Raises TrainingError."""
        certification, valid_from = self._of(task), self._valid_from(task)
        is_well = expected_share(certification, self._clock()) >= self._config.enough_coverage
        # A live task that does well and never was in alarm has nothing to choose.
        if valid_from == 0.0 and is_well and (kept := self._builder.keep_recipe(task, recipe, rows)):
            return kept
        return self._builder.choose(task, rows, valid_from, self._targets(task))

    def _judge_newest(self, task: str, version: int) -> Event:
        """Test a new version and let it take over if it may serve more. Raises RegistryError."""
        old, now = self._of(task), self._clock()
        with self._builder.open_version(task, version) as candidate:
            tested = self._test(task, candidate, old)
        if tested is None:
            return self._put(old, msgspec.structs.replace(old, judged_version=version), version)
        if expected_share(old, now) > 0.0 and expected_share(tested, now) <= expected_share(old, now):
            tested = with_attempts_of(old, tested, now)
        return self._put(old, tested, version)

    def _test(self, task: str, candidate: Candidate, old: Certification) -> Certification | None:
        """Return what `candidate` may do; None if testing it cannot improve on what is in force."""
        targets = self._targets(task)
        audits = self._judge.score_audits(candidate, self._evidence(task), targets)
        if old.stage == "live" and not self._judge.may_improve(candidate, old, audits, targets):
            return None
        return self._judge.judge_version(candidate, old, audits, targets)

    def _may_renew(self, task: str) -> bool:
        """Whether a certificate should be tested again without a new version."""
        certification = self._of(task)
        if certification.version is None:
            return False
        if set(self._targets(task)) - {each.target for each in certification.certificates}:
            return True
        now = self._clock()
        units = count_units(certification, self._evidence(task), now)
        came = self._held_out(task) - self._tried_at.get(task, -units)
        return came >= _FRESH * units and is_renewal_due(certification, units, now)

    def _renew(self, task: str) -> Iterator[Event]:
        """Test the version that drafts again on today's evidence. Raises RegistryError."""
        self._tried_at[task] = self._held_out(task)
        old, targets = self._of(task), self._targets(task)
        assert old.version is not None
        with self._builder.open_version(task, old.version) as candidate:
            audits = self._judge.score_audits(candidate, self._evidence(task), targets)
            new = self._judge.renew(candidate, old, audits, targets)
        if new != old:
            yield self._put(old, new, old.version)

    def _keep_dates(self, old: Certification) -> Iterator[Event]:
        """Let certificates lapse when their days are over, and warn before."""
        now = self._clock()
        certificates = tuple(warn_of_lapse(lapse_if_due(each, now), now) for each in old.certificates)
        if certificates != old.certificates:
            new = msgspec.structs.replace(old, certificates=certificates)
            is_put = self._stores.certifications.put_if(old.epoch, new)
            lapsed = [
                each.note
                for each, before in zip(certificates, old.certificates, strict=True)
                if each.stage != before.stage
            ]
            if is_put and lapsed:
                yield Event(task=old.task, kind="lapsed", version=old.version, detail=lapsed[0])

    def _postpone(self, task: str, why: str) -> Event:
        """Leave the reason where status reports look; what is live stays live."""
        old = self._of(task)
        self._stores.certifications.put_if(old.epoch, msgspec.structs.replace(old, note=why))
        return Event(task=task, kind="postponed", detail=why)

    def _put(self, old: Certification, new: Certification, version: int) -> Event:
        is_put = self._stores.certifications.put_if(old.epoch, msgspec.structs.replace(new, note=""))
        return Event(
            task=new.task,
            kind=_outcome(version, new) if is_put else "overtaken",
            version=version,
            detail=_describe(new) if is_put else "an alarm came first",
        )

    def _evidence(self, task: str) -> list[Row]:
        """Return the held-out rows of `task`, without those of copies that proved to be another task."""
        return [row for row in self._task_rows(task).evidence() if not self._is_separate(row)]

    def _held_out(self, task: str) -> int:
        """Return how many held-out rows of `task` were ever read."""
        return self._task_rows(task).grown(0.0).held_out

    def _is_separate(self, row: Row) -> bool:
        return is_separate(row, self._stores.templates)

    def _targets(self, task: str) -> Sequence[RiskTarget]:
        known = self._stores.tasks.get(task)
        return self._risk_targets_of(known.model) if known else ()

    def _task_rows(self, task: str) -> TaskRows:
        """Return the rows of `task`, up to date."""
        task_rows = self._rows_by_task.setdefault(task, TaskRows(task, self._config.max_rows))
        task_rows.read(self._stores.harvest)
        return task_rows

    def _grown(self, task: str) -> Count:
        """Return the rows of `task` since its last alarm."""
        return self._task_rows(task).grown(self._valid_from(task))

    def _of(self, task: str) -> Certification:
        return self._stores.certifications.of(task)

    def _valid_from(self, task: str) -> float:
        return max((each.valid_from for each in self._of(task).certificates), default=0.0)

    def _last(self, task: str) -> TrainingProgress:
        """Return what the last version of this epoch had seen, by memory or by its manifest."""
        if task not in self._progress:
            versions = self._stores.registry.versions(task)
            manifest = self._stores.registry.read(task, versions[-1]) if versions else None
            metrics, recipe = (manifest.metrics, manifest.recipe) if manifest else ({}, "")
            self._progress[task] = TrainingProgress.of(metrics, recipe)
        progress, epoch = self._progress[task], self._of(task).epoch
        return progress if progress.epoch == epoch else TrainingProgress(epoch=epoch, recipe=progress.recipe)


def _outcome(version: int, certification: Certification) -> EventKind:
    if certification.stage != "live":
        return "trained"
    return "certified" if certification.version == version else "kept"


def _describe(certification: Certification) -> str:
    """Return one clause per certificate: its stratum, its target, its note."""
    return "; ".join(
        f"{each.stratum} texts at {each.target.alpha:.1%}{each.target.manner}: {each.note}"
        for each in certification.certificates
    )
