"""The learner: takes every task one step further whenever its harvest has grown enough."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import msgspec

from gateway.core import Certification, Requirement
from gateway.distill.adoption import adopt_task, vector_of
from gateway.distill.base import Config, Event, describe_certificates, kind_of_result
from gateway.distill.choice import Choice
from gateway.distill.curate import curate
from gateway.distill.encoder_change import without_version
from gateway.distill.faults import explain_fault, forget_on_fault
from gateway.distill.imported import CONFIRM_EVERY, ImportedLessons, is_being_confirmed
from gateway.distill.imported_evidence import ImportedJudge
from gateway.distill.judge import Judge
from gateway.distill.prospects import Candidate
from gateway.distill.renewal import (
    asks_anew,
    expected_share,
    keep_dates,
    may_renew,
    served_from,
    serves_no_more,
    with_attempts_of,
)
from gateway.distill.requirements import Requirements
from gateway.distill.scored_audits import ScoredAudits, score_audits
from gateway.distill.stores import Stores
from gateway.distill.task_rows import TaskRows
from gateway.distill.training_progress import TrainingProgress
from gateway.distill.verdicts import ReviewedLessons
from gateway.distill.version_builder import VersionBuilder
from gateway.errors import RegistryError
from gateway.harvest.base import Row
from gateway.harvest.reader import Count
from gateway.specialists.base import Encoder

_PRICE_OF_CORRECTION = 0.9
"""A version that learnt what reviewers said takes over although it serves so much less: it is right."""


class Learner:
    """Adopts tasks, trains their specialists and certifies them, one step at a time.

    One learner per home. It may be stopped and started at any time: what it has done is read from
    the registry and the certifications, and a version that was published but not judged is judged
    first. `requirements_of` returns what the policies ask of a model's specialists.
    """

    def __init__(
        self,
        stores: Stores,
        builder: VersionBuilder,
        encoder: Encoder,
        requirements_of: Callable[[str], Sequence[Requirement]],
        config: Config,
        *,
        clock: Callable[[], float] = time.time,
        is_ours: Callable[[str], bool] = lambda _: True,
    ) -> None:
        """`is_ours` says whether this machine learns a task, where several share what they learnt."""
        self.is_ours = is_ours
        self._stores = stores
        self._builder = builder
        self._encoder = encoder
        self._required = Requirements(stores.tasks, requirements_of)
        self._config = config
        self._clock = clock
        self._judge = Judge(config, clock)
        self._reviewed = ReviewedLessons(stores.reviews, stores.registry, clock, config.review_pause_s)
        self._imported = ImportedLessons(stores.imports, stores.registry)
        self._rows_by_task: dict[str, TaskRows] = {}
        self._looked: dict[str, tuple[Count, int, int]] = {}
        self._progress: dict[str, TrainingProgress] = {}
        self._tried_at: dict[str, int] = {}

    def step(self, only: str = "") -> list[Event]:
        """Look at every task once, or at one alone, and return what was done; may take minutes.

        Costs one count of the harvest if nothing has changed.
        """
        self._stores.refresh()
        events: list[Event] = []
        for certification in self._stores.certifications.all():
            if self.is_ours(certification.task):
                events += keep_dates(self._stores.certifications, certification, self._clock())
        for task, count in self._stores.harvest.came().items():
            if (only and task != only) or not self.is_ours(task):
                continue
            look = count, self._of(task).epoch, self._reviewed.count_settled(task)
            if self._looked.get(task) != look:
                with forget_on_fault(self._progress, task):
                    events += self._look(task, count)
                self._looked[task] = look
        return events

    def train(self, task: str) -> list[Event]:
        """Make the next version of `task` now, whatever has grown, and judge it. May take minutes."""
        self._stores.refresh()
        try:
            return [*([] if self._stores.tasks.get(task) else [self._adopt(task)]), self._advance(task)]
        except Exception as exc:
            return [self._postpone(task, explain_fault(task, exc))]

    def promote(self, task: str, version: int) -> Event:
        """Test `version` on today's evidence; while another serves, it takes over only if it may, too.

        Unless that is lost. The test spends delta as any other. Raises RegistryError for one that is damaged.
        """
        self._stores.refresh()
        old, now = self._of(task), self._clock()
        digest = old.digest if version == old.version else ""
        with self._builder.open_version(task, version, digest) as candidate:
            if excess := self._required.excess(task, version, candidate.footprint):
                raise RegistryError(excess)
            tested = self._test(task, candidate, old, is_wanted=True) or old
        is_there = old.version is not None and not self._stores.registry.is_lost(task, old.version)
        if is_there and serves_no_more(tested, old, now, price=0.0):
            self._put(old, with_attempts_of(old, tested, now), version)
            return Event(task=task, kind="kept", version=version, detail=describe_certificates(tested))
        return self._put(old, tested, version)

    def _look(self, task: str, count: Count) -> Iterator[Event]:
        if count.training + count.held_out < self._config.adopt_rows:
            return
        try:
            if self._stores.tasks.get(task) is None:
                yield self._adopt(task)
            if why := self._builder.find_change(task, self._of(task).version):
                yield self._revoke(task, why)
            if self._of(task).version and self._stores.pins.is_pinned(task):
                if self._may_renew(task):
                    yield from self._renew(task)
                return
            newest = max(self._stores.registry.versions(task), default=0)
            if newest > self._of(task).judged_version:
                # Published, then killed before it was judged.
                damage = self._builder.delete_damaged(task, newest)
                yield self._postpone(task, damage) if damage else self._judge_newest(task, newest)
            # Rows since an alarm are at most all rows: most looks end before any is read.
            is_due = self._is_due(task, count) and self._is_due(task, self._grown(task))
            if is_due or self._reviewed.overrules(task, self._last(task)):
                yield self._advance(task)
            elif self._may_renew(task):
                yield from self._renew(task)
        except Exception as exc:
            yield self._postpone(task, explain_fault(task, exc))

    def _revoke(self, task: str, why: str) -> Event:
        """Take the version that drafts out of service; its successor is due at once."""
        old, known = self._of(task), self._stores.tasks.get(task)
        self._stores.certifications.put_if(old.epoch, without_version(old, why))
        if known:
            self._stores.tasks.set_vector(task, vector_of(known.template_text, self._encoder))
        return Event(task=task, kind="revoked", version=old.version, detail=why)

    def _adopt(self, task: str) -> Event:
        return adopt_task(self._task_rows(task).newest(), self._stores.tasks, self._encoder)

    def _is_due(self, task: str, count: Count) -> bool:
        """Whether `count` rows are worth a new version."""
        last = self._last(task)
        growth = self._builder.growth(last.recipe)
        if count.training >= self._config.rows_needed(last.training, growth):
            return not any(map(is_being_confirmed, self._of(task).certificates))
        has_more = count.held_out >= growth * max(last.held_out, 1)
        if self._of(task).stage == "live" or not has_more or count.training < self._config.first_rows:
            return False
        # What waits for audits of its own answers gains nothing by another version.
        return not self._imported.awaits_confirmation(self._of(task))

    def _advance(self, task: str) -> Event:
        """Make the next version of `task` and judge it. Raises TrainingError or RegistryError."""
        task_rows, grown, last = self._task_rows(task), self._grown(task), self._last(task)
        # Before they are applied: a verdict that comes between the two is applied now, and once more later.
        verdicts = self._reviewed.count(task)
        progress = msgspec.structs.replace(
            last, training=grown.training, held_out=grown.held_out, verdicts=verdicts
        )
        # Noted first: what could not be learnt is tried again when there is more of it, not at once.
        self._progress[task] = progress
        training = curate(self._reviewed.apply(task, task_rows.reviewable(self._stores.harvest))).training
        choice = self._choose(task, training, last.recipe)
        self._progress[task] = progress = msgspec.structs.replace(progress, recipe=choice.recipe.name)
        metrics = progress.metrics() | self._imported.metrics(task, grown.training)
        draft = self._builder.manifest(task, choice.recipe, metrics, after=self._of(task).judged_version)
        self._builder.publish(draft, choice)
        return self._judge_newest(task, draft.version)

    def _choose(self, task: str, rows: list[Row], recipe: str) -> Choice:
        """Return what to learn and how. Raises TrainingError."""
        certification, valid_from = self._of(task), self._valid_from(task)
        is_well = expected_share(certification, self._clock()) >= self._config.enough_coverage
        # A live task that does well and never was in alarm has nothing to choose.
        if valid_from == 0.0 and is_well and (kept := self._builder.keep_recipe(task, recipe, rows)):
            return kept
        return self._builder.choose(
            task,
            rows,
            self._required.targets(task),
            valid_from,
            served_from(certification),
            may_take=lambda footprint: self._required.may_take(task, footprint),
        )

    def _judge_newest(self, task: str, version: int) -> Event:
        """Test a new version and let it take over if it may serve more. Raises RegistryError."""
        old, now = self._of(task), self._clock()
        is_corrected = self._reviewed.corrects(task, version, old.version)
        with self._builder.open_version(task, version) as candidate:
            excess = self._required.excess(task, version, candidate.footprint)
            tested = None if excess else self._test(task, candidate, old, is_wanted=is_corrected)
        if tested is None:
            return self._put(old, msgspec.structs.replace(old, judged_version=version), version, excess)
        if serves_no_more(tested, old, now, _PRICE_OF_CORRECTION if is_corrected else 1.0):
            tested = with_attempts_of(old, tested, now)
        return self._put(old, tested, version)

    def _test(
        self, task: str, candidate: Candidate, old: Certification, *, is_wanted: bool
    ) -> Certification | None:
        """Return what `candidate` may do; None if a test that is not wanted cannot improve on what is."""
        targets = self._required.targets_within(task, candidate.footprint)
        audits = score_audits(candidate, self._task_rows(task).evidence(), targets)
        may_win = is_wanted or self._judge.may_improve(candidate, old, audits, targets)
        if old.stage == "live" and not may_win:
            return None
        imported = self._imported_judge(task, candidate, audits)
        return imported.add_certificates(old, self._judge.judge_version(candidate, old, audits, targets))

    def _may_renew(self, task: str) -> bool:
        """Whether a certificate should be tested again without a new version."""
        certification = self._of(task)
        if certification.version is None:
            return False
        asked = self._required.asked_within(task, certification.footprint)
        if asks_anew(certification, self._required.targets_within(task, certification.footprint), asked):
            return True
        rows, tried_at = self._task_rows(task), self._tried_at.get(task)
        if self._imported.awaits_confirmation(certification):
            return rows.came - (tried_at or 0) >= CONFIRM_EVERY
        return may_renew(certification, rows.evidence(), rows.came, tried_at, self._clock())

    def _renew(self, task: str) -> Iterator[Event]:
        """Test the version that drafts again on today's evidence. Raises RegistryError."""
        self._tried_at[task] = self._task_rows(task).came
        old = self._of(task)
        if not (targets := self._required.targets_within(task, old.footprint)):
            return
        assert old.version is not None
        with self._builder.open_version(task, old.version, old.digest) as candidate:
            audits = score_audits(candidate, self._task_rows(task).evidence(), targets)
            imported = self._imported_judge(task, candidate, audits)
            new = imported.add_certificates(old, self._judge.renew(candidate, old, audits, targets))
        if new != old:
            yield self._put(old, new, old.version)

    def _postpone(self, task: str, why: str) -> Event:
        """Leave the reason where status reports look; what is live stays live."""
        old = self._of(task)
        self._stores.certifications.put_if(old.epoch, msgspec.structs.replace(old, note=why))
        return Event(task=task, kind="postponed", detail=why)

    def _put(self, old: Certification, new: Certification, version: int, note: str = "") -> Event:
        if not self._stores.certifications.put_if(old.epoch, msgspec.structs.replace(new, note=note)):
            why = "an alarm, or another machine, came first"
            return Event(task=new.task, kind="overtaken", version=version, detail=why)
        detail = note or describe_certificates(new)
        return Event(task=new.task, kind=kind_of_result(version, new), version=version, detail=detail)

    def _imported_judge(self, task: str, candidate: Candidate, audits: ScoredAudits) -> ImportedJudge:
        rows, asked = self._task_rows(task), self._required.asked_within(task, candidate.footprint)
        return ImportedJudge(candidate, rows.imported_evidence(), audits["new"], asked, self._clock())

    def _task_rows(self, task: str) -> TaskRows:
        """Return the rows of `task`, up to date."""
        fresh = TaskRows(task, self._config.max_rows, self._stores.templates)
        (rows := self._rows_by_task.setdefault(task, fresh)).read(self._stores.harvest)
        return rows

    def _grown(self, task: str) -> Count:
        """Return the rows of `task` since its last alarm."""
        return self._task_rows(task).grown(self._valid_from(task))

    def _of(self, task: str) -> Certification:
        return self._stores.certifications.of(task)

    def _valid_from(self, task: str) -> float:
        return max((each.valid_from for each in self._of(task).certificates), default=0.0)

    def _last(self, task: str) -> TrainingProgress:
        """Return what the last version of this epoch had seen; a command beside `serve` may have made it."""
        known = self._progress.get(task, TrainingProgress())
        if newest := self._builder.newest_manifest(task, after=known.version):
            known = self._progress[task] = TrainingProgress.of(newest)
        return known.of_epoch(self._of(task).epoch)
