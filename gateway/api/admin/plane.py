"""What the admin application asks of the process that it runs in."""

from __future__ import annotations

from typing import Any, Protocol

from gateway.api.admin.models import Judgement, SampleCounts, SampleItem, TaskChange, TaskReport
from gateway.policy.explanation import Explanation
from gateway.store.admin_tokens import AdminToken
from gateway.store.audit_trail import Entry, Verdict
from gateway.store.decision_filter import DecisionFilter
from gateway.store.decision_record import DecisionRecord


class AdminPlane(Protocol):
    """The state of one gateway, for operators. Every method may block and is called in a thread."""

    def render_metrics(self) -> bytes:
        """Return Prometheus text, summed over all workers."""

    def report_status(self) -> dict[str, Any]:
        """Return the status report."""

    def find_token(self, plain: str) -> AdminToken | None:
        """Return the valid token with that secret."""

    def explain(self, request_id: str) -> Explanation | None:
        """Return why a request was answered as it was, None if it is not known."""

    def list_decisions(self, wanted: DecisionFilter, last: int) -> list[DecisionRecord]:
        """Return the last decisions that are wanted, newest first; tasks by id or name.

        Raises ConfigError for a task that is no id and has no such name.
        """

    def list_tasks(self) -> list[TaskReport]:
        """Return a report of every task."""

    def show_task(self, task: str) -> TaskReport:
        """Return the report of one task, by id or name. Raises ConfigError for an unknown one."""

    def report_costs(self, by: str, since: str | None) -> dict[str, Any]:
        """Return dollars and requests of a period. Raises ConfigError for a time that is none."""

    def change_freeze(self, actor: str, task: str | None, note: str, *, is_frozen: bool) -> TaskChange:
        """Freeze or unfreeze a task, None for all. Raises ConfigError for an unknown one."""

    def rename_task(self, actor: str, task: str, name: str) -> TaskChange:
        """Rename a task. Raises ConfigError for an unknown one, or a name that it cannot have."""

    def acknowledge_alarm(self, actor: str, task: str, note: str) -> TaskChange:
        """Acknowledge the alarm of a task. Raises ConfigError for an unknown one."""

    def list_sample(self, task: str | None, last: int) -> list[SampleItem]:
        """Return what is to be judged, newest first. Raises ConfigError for an unknown task."""

    def judge(self, actor: str, request_id: str, choice: str) -> Judgement:
        """Keep a judgement. Raises ConfigError for a request that is not in the sample."""

    def count_sample(self) -> list[SampleCounts]:
        """Return the counts of each task that has a sample."""

    def list_changes(self, last: int, about: str) -> list[Entry]:
        """Return the last entries of the audit trail, newest first."""

    def verify_trail(self, known_head: str) -> Verdict:
        """Recompute the audit trail's chain."""
