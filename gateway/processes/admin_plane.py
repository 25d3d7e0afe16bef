"""The composition root of the admin process: the state of one gateway, for operators."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import msgspec
from prometheus_client.registry import Collector

from gateway.api.admin.models import Judgement, SampleCounts, SampleItem, TaskChange, TaskReport
from gateway.finops.periods import parse_past
from gateway.finops.report import GROUPINGS, describe_period, read_period
from gateway.policy.explanation import Explanation, explain_decision
from gateway.policy.key_limits import KeyLimits
from gateway.policy.load import load_policies
from gateway.policy.planner import PolicyPlanner
from gateway.processes.accounting import Accounting
from gateway.processes.blind_sample import BlindSample
from gateway.processes.certificate_gauges import create_certificate_gauges
from gateway.processes.harvest_access import open_harvest
from gateway.processes.row_counts import choose_row_counts
from gateway.processes.shared_state_gauges import create_shared_state_gauges
from gateway.processes.task_report import TaskReporter, summarize_task
from gateway.processes.teachers import describe_teachers
from gateway.registry.models import Registry
from gateway.settings import Settings
from gateway.sharing.contact import Contact, read_contact_report
from gateway.sharing.lease_keeper import open_lease_keeper
from gateway.sharing.outgoing import count_outgoing
from gateway.store import task_changes
from gateway.store.admin_tokens import AdminToken
from gateway.store.audit_trail import Entry, Verdict
from gateway.store.decision_filter import DecisionFilter
from gateway.store.decision_record import DecisionRecord
from gateway.store.interventions import ALL_TASKS
from gateway.store.learner_progress import LearnerProgress, read_learner_progress
from gateway.store.retirements import read_retirements
from gateway.store.shared_counters import Counters
from gateway.store.state import State
from gateway.store.task_lookup import find_recorded_task, name_subject
from gateway.telemetry.all_workers import MachineMetrics
from gateway.telemetry.certificates import Certificates
from gateway.telemetry.costs import BudgetCollector
from gateway.telemetry.gauges import ReadGauge
from gateway.telemetry.shared_sums import SumFiles

WAITING = {
    "outcomes": "outcomes_waiting",
    "rows": "harvest_rows_waiting",
    "spend": "accounts_waiting",
    "decisions": "decisions_waiting",
    "objects": "objects_waiting",
}
DROPPED = {
    "outcomes": "outcomes_dropped_total",
    "rows": "harvest_rows_dropped_total",
    "audits": "audits_dropped_total",
    "decisions": "ledger_rows_dropped_total",
    "objects": "objects_dropped_total",
    "feedback": "feedback_dropped_total",
}
Samples = dict[str, list[tuple[dict[str, str], float]]]


class GatewayAdmin:
    """What operators see and change; see api.admin.plane.AdminPlane. Every method may block."""

    def __init__(self, settings: Settings, state: State, sum_files: Sequence[int], *, admission: str) -> None:
        """`admission` is that of the workers: here the settings lack the teacher's key, which tells it."""
        self._policies = policies = load_policies(settings.policies.folder)
        self._settings = settings
        self._state = state
        self._admission = admission
        self._begun_at = time.time()
        self._sums = SumFiles(sum_files)
        harvest = open_harvest(settings)
        self._count_rows_of_tasks = choose_row_counts(settings, harvest)
        self._sample = BlindSample(state, harvest)
        counters = Counters(settings.home.counters, None)
        # It only reads, and asks for no lease.
        limits = KeyLimits(counters, keeper=open_lease_keeper(settings.state, "", counters))
        self._contact = Contact(counters, settings.state) if settings.state.is_shared else None
        accounting = Accounting(settings, state, policies, limits)
        planner = PolicyPlanner(policies, accounting.budgets.spent, constraints=settings.specialists.limits)
        self._reporter = TaskReporter(state, planner, Registry(settings.home.registry))
        collectors = [
            Certificates(state.certifications.all),
            BudgetCollector(accounting.list_left),
            *self._create_gauges(),
        ]
        self._metrics = MachineMetrics(self._sums, collectors)

    def render_metrics(self) -> bytes:
        """Return Prometheus text, summed over all workers."""
        self._refresh()
        return self._metrics.render_text()

    def report_status(self) -> dict[str, Any]:
        """Return the status report."""
        # First: what is not waiting any more then is on the disk.
        samples = self._metrics.read_samples()
        counts = self._count_rows_of_tasks()
        state = self._state
        return {
            "home": str(self._settings.home.folder),
            "admission": self._admission,
            "specialists_ready": _sum(samples, "specialists_ready") >= self._settings.server.workers,
            "tasks": [summarize_task(one, state.certifications.of(one.task)) for one in self._report_tasks()],
            "freezes": msgspec.to_builtins(state.interventions.list_freezes()),
            "teachers": self._describe_teachers(samples),
            "costs": state.spend.summarize(),
            "harvested": {task: count.training + count.held_out for task, count in counts.items()},
            "shared_state": self._report_shared_state(),
            "learner": msgspec.to_builtins(read_learner_progress(self._settings.home)),
            "waiting": {name: _sum(samples, metric) for name, metric in WAITING.items()},
            "dropped": {name: _sum(samples, metric) for name, metric in DROPPED.items()},
        }

    def find_token(self, plain: str) -> AdminToken | None:
        """Return the valid token with that secret."""
        return self._state.admin_tokens.find_secret(plain)

    def explain(self, request_id: str) -> Explanation | None:
        """Return why a request was answered as it was, None if it is not known."""
        records = self._state.decisions.find(request_id)
        if not records:
            return None
        self._refresh()
        return explain_decision(records, self._policies, self._state.tasks.names.of)

    def list_decisions(self, wanted: DecisionFilter, last: int) -> list[DecisionRecord]:
        """Return the last decisions that are wanted, newest first. Raises ConfigError for an unknown task."""
        if wanted.task is not None:
            self._refresh()
            wanted = msgspec.structs.replace(wanted, task=find_recorded_task(self._state, wanted.task))
        return self._state.decisions.newest(last, wanted)

    def list_tasks(self) -> list[TaskReport]:
        """Return a report of every task."""
        return self._report_tasks()

    def show_task(self, task: str) -> TaskReport:
        """Return the report of one task. Raises ConfigError for an unknown one."""
        return self._reporter.add_changes(self._find_task(task))

    def report_costs(self, by: str, since: str | None) -> dict[str, Any]:
        """Return dollars and requests of a period. Raises ConfigError for a time that is none."""
        start = None if since is None else parse_past(since, time.time())
        period = read_period(self._state.spend, self._state.decisions, start)
        return describe_period(period, next(one for one in GROUPINGS if one == by))

    def change_freeze(self, actor: str, task: str | None, note: str, *, is_frozen: bool) -> TaskChange:
        """Freeze or unfreeze a task, None for all. Raises ConfigError for an unknown one."""
        found = self._find_task(task).task if task is not None else ALL_TASKS
        if is_frozen:
            is_changed = task_changes.freeze_task(self._state, actor, found, note)
        else:
            is_changed = task_changes.unfreeze_task(self._state, actor, found)
        return TaskChange(task=found or None, is_changed=is_changed)

    def rename_task(self, actor: str, task: str, name: str) -> TaskChange:
        """Rename a task. Raises ConfigError for an unknown one, or a name that it cannot have."""
        found = self._find_task(task)
        task_changes.rename_task(self._state, actor, found.task, name)
        return TaskChange(task=found.task, is_changed=found.name != name)

    def acknowledge_alarm(self, actor: str, task: str, note: str) -> TaskChange:
        """Acknowledge the alarm of a task. Raises ConfigError for an unknown one."""
        found = self._find_task(task)
        is_open = found.alarms > 0 and found.seen_alarm is None
        if is_open:
            task_changes.acknowledge_alarm(self._state, actor, found.task, found.alarms, note)
        return TaskChange(task=found.task, is_changed=is_open)

    def list_sample(self, task: str | None, last: int) -> list[SampleItem]:
        """Return what is to be judged, newest first. Raises ConfigError for an unknown task."""
        chosen = None if task is None else self._find_task(task).task
        return self._sample.list_items(chosen, time.time(), last)

    def judge(self, actor: str, request_id: str, choice: str) -> Judgement:
        """Keep a judgement. Raises ConfigError for a request that is not in the sample."""
        verdict = self._sample.judge(request_id, choice, actor, time.time())
        return Judgement(request_id=request_id, verdict=verdict)

    def count_sample(self) -> list[SampleCounts]:
        """Return the counts of each task that has a sample."""
        return self._sample.count_all(time.time())

    def list_changes(self, last: int, about: str) -> list[Entry]:
        """Return the last entries of the audit trail, newest first."""
        self._refresh()
        return self._state.trail.newest(last, subject=name_subject(self._state, about))

    def verify_trail(self, known_head: str) -> Verdict:
        """Recompute the audit trail's chain."""
        return self._state.trail.verify(known_head)

    def _create_gauges(self) -> list[Collector]:
        """Return what only the stores know, as gauges."""
        learner: list[Collector] = [
            ReadGauge("stepdown_harvest_rows", "Harvested rows.", (), lambda: [((), self._count_rows())]),
            ReadGauge(
                "stepdown_learner_rows",
                "Rows that the learner has looked at.",
                (),
                lambda: [((), self._read_progress().rows)],
            ),
            ReadGauge(
                "stepdown_learner_step_ended_at",
                "When the learner's last step ended, before the first the start; unix seconds.",
                (),
                lambda: [((), max(self._read_progress().at, self._begun_at))],
            ),
        ]
        is_learning = self._settings.learn.enabled and self._settings.harvest.enabled
        return [
            *create_certificate_gauges(self._settings, self._state),
            ReadGauge("stepdown_workers_running", "Workers that run.", (), self._count_workers),
            ReadGauge(
                "stepdown_sums_age_seconds",
                "How long the quietest worker has shown no sums.",
                (),
                lambda: [((), max(self._sums.read_ages(time.monotonic()), default=0.0))],
            ),
            *(learner if is_learning else []),
            *(create_shared_state_gauges(self._contact, self._state.database) if self._contact else ()),
        ]

    def _describe_teachers(self, samples: Samples) -> list[dict[str, object]]:
        retirements = read_retirements(self._settings.home)
        return [
            _describe_teacher(one.name, one.base_url, samples)
            | {"retirements": msgspec.to_builtins(retirements.get(one.name, {}))}
            for one in describe_teachers(self._settings)
        ]

    def _report_shared_state(self) -> dict[str, Any] | None:
        """Return how this machine stands with the others; None where nothing is shared."""
        if self._contact is None:
            return None
        return {
            **msgspec.to_builtins(read_contact_report(self._settings.home)),
            "has_lease": self._contact.has_lease,
            "waiting": count_outgoing(self._state.database),
        }

    def _count_workers(self) -> list[tuple[tuple[()], float]]:
        return [((), len(self._sums.read_ages(time.monotonic())))]

    def _count_rows(self) -> int:
        return sum(count.training + count.held_out for count in self._count_rows_of_tasks().values())

    def _read_progress(self) -> LearnerProgress:
        return read_learner_progress(self._settings.home)

    def _find_task(self, task: str) -> TaskReport:
        return self._reporter.find(task, self._report_tasks())

    def _report_tasks(self) -> list[TaskReport]:
        self._refresh()
        return self._reporter.report_all(self._count_rows_of_tasks())

    def _refresh(self) -> None:
        """Read what the other processes changed; microseconds while nothing has."""
        self._state.tasks.refresh()
        self._state.interventions.refresh()
        self._state.certifications.refresh()


def _sum(samples: Samples, name: str, **labels: str) -> int:
    found = samples.get(f"stepdown_{name}", [])
    return int(sum(value for given, value in found if labels.items() <= given.items()))


def _describe_teacher(name: str, base_url: str, samples: Samples) -> dict[str, object]:
    """Return what the status report says of a teacher; its circuit is that of each worker."""
    is_out = _sum(samples, "teacher_circuits_open", teacher=name) > 0
    counts = {
        what: _sum(samples, f"teacher_{what}_total", teacher=name)
        for what in ("requests", "failures", "retries")
    }
    places = {
        what: _sum(samples, f"teacher_calls_{what}", teacher=name)
        for what in ("in_flight", "limit", "queued")
    }
    # A limit of 0 is none.
    counts |= places if places["limit"] else {}
    return {"name": name, "base_url": base_url, "circuit": "open" if is_out else "closed", **counts}
