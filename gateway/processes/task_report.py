"""One task as operators see it: what it promises, what it lacks, whether it serves, and why not."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from gateway.api.admin.models import TaskReport
from gateway.confidence.shortfall import uncertified_reason
from gateway.confidence.summary import summarize_certification
from gateway.confidence.units import independent_units
from gateway.core import Certificate, Certification, Requirement
from gateway.errors import RegistryError
from gateway.harvest.reader import Count, HarvestReader
from gateway.policy.load import load_policies
from gateway.policy.planner import PolicyPlanner
from gateway.registry.models import Registry
from gateway.settings import Settings
from gateway.store.state import State
from gateway.store.task_changes import find_freezer
from gateway.store.task_lookup import find_task
from gateway.store.tasks import Task

DAY_S = 86_400.0
MONEY_DAYS = 7
MOST_CHANGES = 5


class TaskReporter:
    """Makes reports from what the stores hold; may block."""

    def __init__(self, state: State, planner: PolicyPlanner, registry: Registry) -> None:
        self._state = state
        self._planner = planner
        self._registry = registry

    def report_all(self, counts: dict[str, Count]) -> list[TaskReport]:
        """Return every adopted or certified task, by owner and name."""
        known = {task.task: task for task in self._state.tasks.all()}
        names = {*known, *(one.task for one in self._state.certifications.all())}
        reports = [self.report(name, known.get(name), counts.get(name, Count())) for name in names]
        return sorted(reports, key=lambda one: (one.scope, one.name))

    def find(self, wanted: str, reports: list[TaskReport]) -> TaskReport:
        """Return the report of the task with that id, name, or owner and name. Raises ConfigError."""
        task = find_task(self._state, wanted)
        return next(one for one in reports if one.task == task)

    def add_changes(self, report: TaskReport) -> TaskReport:
        """Return a report with the latest changes by operators."""
        changes = tuple(self._state.trail.newest(MOST_CHANGES, subject=report.task))
        return msgspec.structs.replace(report, changes=changes)

    def report(self, task: str, known: Task | None, rows: Count) -> TaskReport:
        """Return the report of one task; `known` is None for one that is certified, not adopted."""
        state = self._state
        certification = state.certifications.of(task)
        targets = self._planner.risk_targets(known.model) if known else ()
        is_serving, because = self._judge_service(task, known)
        return TaskReport(
            task=task,
            name=state.tasks.names.of(task),
            scope=known.scope if known else "",
            model=known.model if known else "",
            template_text=known.template_text if known else "",
            adopted_at=known.adopted_at if known else 0.0,
            stage=certification.stage,
            version=certification.version,
            is_serving=is_serving,
            because=because,
            freeze=(freeze := state.interventions.find_freeze(task)),
            frozen_by=find_freezer(state, freeze.task) if freeze else "",
            alarms=certification.epoch,
            seen_alarm=state.interventions.find_seen_alarm(task, certification.epoch),
            targets=targets,
            certificates=certification.certificates,
            note=certification.note,
            rows=rows,
        )

    def _judge_service(self, task: str, known: Task | None) -> tuple[bool, str]:
        """Return whether drafts are served to any policy, and why not to all."""
        certification = self._state.certifications.of(task)
        if self._state.interventions.is_frozen(task):
            return False, "frozen"
        if certification.version is None:
            return False, "no specialist yet"
        try:
            self._registry.read(task, certification.version)
        except RegistryError as exc:
            return False, f"version {certification.version} cannot be read: {exc}"
        asked = self._planner.requirements(known.model) if known else ()
        if not asked:
            return False, "no policy lets a specialist answer its model"
        # The strictest first: its reason is the one that is told.
        reasons = [_refusal(certification, each) for each in sorted(asked, key=lambda one: one.target)]
        missed = [reason for reason in reasons if reason]
        return len(missed) < len(asked), missed[0] if missed else ""


def _refusal(certification: Certification, asked: Requirement) -> str:
    """Return why nothing is served to a policy that asks for that; empty if something is."""
    now, footprint = time.time(), certification.footprint
    if excess := asked.constraints.excess(footprint):
        takes = f"it takes {footprint.describe()}, " if footprint else ""
        return f"{excess}: {takes}a policy allows {asked.constraints.describe()}"
    return (
        ""
        if certification.serves(asked.target, now)
        else uncertified_reason(certification, asked.target, now)
    )


def create_reporter(settings: Settings, state: State) -> TaskReporter:
    """Return the reporter of a home. Raises ConfigError if the policies cannot be read."""
    planner = PolicyPlanner(
        load_policies(settings.policies.folder), lambda _: 0.0, constraints=settings.specialists.limits
    )
    return TaskReporter(state, planner, Registry(settings.home.registry))


def describe_absence(counts: dict[str, Count], adopt_rows: int) -> str:
    """Return why there is no task yet."""
    most = max((count.training + count.held_out for count in counts.values()), default=0)
    if not most:
        return "no task yet: send traffic through `stepdown serve`"
    templates = "one template came" if len(counts) == 1 else f"of {len(counts)} templates the commonest came"
    return f"no task yet: {templates} {most} times, {adopt_rows} make a task"


def summarize_task(report: TaskReport, certification: Certification) -> dict[str, Any]:
    """Return the line of a task in status reports; see `summarize_certification`."""
    return summarize_certification(certification, report.scope) | {
        "name": report.name,
        "is_serving": report.is_serving,
        "because": report.because,
        "is_frozen": report.freeze is not None,
        "is_alarm_seen": report.seen_alarm is not None,
    }


class Stakes(msgspec.Struct, frozen=True, kw_only=True):
    """The money of a task over the last days, USD per day, and how fast evidence comes."""

    days: float
    teacher_usd: float
    """What its requests cost."""
    full_usd: float
    """What they would have cost without a specialist."""
    shadow_usd: float
    """What shadow drafts would have saved."""
    audits: float
    """Held-out rows per day, over the last day, that count as evidence: copies of a text are one."""
    new_audits: float
    """The same where a text counts once, as for a certificate of new texts."""

    def audits_for(self, certificate: Certificate) -> float:
        """Return how many audits per day count for a certificate."""
        return self.new_audits if certificate.stratum == "new" else self.audits


def measure_stakes(state: State, harvest: HarvestReader, task: Task, now: float) -> Stakes:
    """Return what is at stake with a task; may block."""
    since = time.strftime("%Y-%m-%d", time.gmtime(now - (MONEY_DAYS - 1) * DAY_S))
    sums = [sums for account, sums in state.spend.entries(since) if account.task == task.task]
    days = max(1.0, min(float(MONEY_DAYS), (now - task.adopted_at) / DAY_S))
    held_out = harvest.held_out_since(task.task, now - DAY_S)
    per_day = DAY_S / (max(60.0, now - held_out[0].at) if held_out else DAY_S)
    return Stakes(
        days=days,
        teacher_usd=sum(each.usd for each in sums) / days,
        full_usd=sum(each.counterfactual_usd for each in sums) / days,
        shadow_usd=sum(each.would_save_usd for each in sums) / days,
        audits=len(independent_units(held_out)) * per_day,
        new_audits=len(independent_units(held_out, once_per_text=True)) * per_day,
    )
