"""The alerts that operators should have, as Prometheus rules over the metrics of the catalog."""

from __future__ import annotations

from typing import Literal

import msgspec

from gateway.telemetry.catalog import CATALOG


class Alert(msgspec.Struct, frozen=True):
    """One rule: `expression` must hold for the time `hold`; `advice` says what to do."""

    name: str
    severity: Literal["critical", "warning"]
    hold: str
    expression: str
    summary: str
    advice: str


def _any_drop() -> str:
    """Return an expression with a sample for each kind of thing that was dropped lately."""
    names = [facts.name for facts in CATALOG if facts.name.endswith("_dropped_total")]
    # `increase` forgets the name of a metric: it becomes a label before.
    kinds = [(name, name.removeprefix("stepdown_").removesuffix("_dropped_total")) for name in names]
    parts = [f'label_replace(increase({name}[10m]), "what", "{what}", "", "")' for name, what in kinds]
    return "(" + " or ".join(parts) + ") > 0"


_LEFT = "stepdown_budget_left_usd / stepdown_budget_limit_usd"

ALERTS: tuple[Alert, ...] = (
    Alert(
        "StepdownDown", "critical", "1m", 'up{job="stepdown"} == 0',
        "The admin plane of {{ $labels.instance }} does not answer.",
        "Look at the service's log; `/readyz` of the API says whether requests are served.",
    ),
    Alert(
        "StepdownCertificateAlarm", "warning", "0m", "stepdown_alarm_unacknowledged == 1",
        "Answers of {{ $labels.route }} drifted: its certificate is withdrawn, the teacher answers.",
        "`stepdown tasks show {{ $labels.route }}`, then `stepdown tasks ack`.",
    ),
    Alert(
        "StepdownSpecialistLost", "critical", "1m", "stepdown_specialist_lost == 1",
        "Files of the specialist of {{ $labels.route }} are gone: it answers from memory until it is loaded "
        "anew, then the teacher does.",
        "Put them back from a backup, or `stepdown models rollback {{ $labels.route }} --reason WHY`.",
    ),
    Alert(
        "StepdownCertificateLapses", "warning", "1h",
        "(stepdown_certificate_expires_at - time() < 2 * 86400) and ignoring(stage) "
        '(stepdown_certificate_stage{stage="live"} == 1)',
        "The certificate of {{ $labels.route }} lapses within two days.",
        "`stepdown tasks show {{ $labels.route }}` says which audits are missing.",
    ),
    Alert(
        "StepdownBudgetNearlySpent", "warning", "0m", f"{_LEFT} <= 0.2",
        "80 % of the {{ $labels.period }}'s budget of {{ $labels.budget }} are spent.",
        "`stepdown costs report --by key --since 24h`; raise the policy's budget or wait for the next one.",
    ),
    Alert(
        "StepdownBudgetSpent", "critical", "0m", f"{_LEFT} <= 0.001",
        "The {{ $labels.period }}'s budget of {{ $labels.budget }} is spent: requests get 429.",
        "`stepdown costs report --by key --since 24h`; raise the policy's budget or wait for the next one.",
    ),
    Alert(
        "StepdownTeacherDown", "critical", "1m",
        "max by (instance, teacher) (stepdown_teacher_circuits_open) > 0",
        "The teacher {{ $labels.teacher }} fails.",
        "`stepdown teachers check`; its status page; local answers go on.",
    ),
    Alert(
        "StepdownDrops", "warning", "0m", _any_drop(),
        "{{ $labels.what }} were dropped: the disk is full or too slow.",
        "Make room below STEPDOWN_HOME; answers are not affected, records are lost.",
    ),
    Alert(
        "StepdownStateStale", "critical", "30s",
        "stepdown_workers_stale > 0 or stepdown_sums_age_seconds > 60",
        "Workers of {{ $labels.instance }} cannot read their state: no local answers, keys are refused.",
        "`stepdown doctor` on that machine; look at its disk.",
    ),
    Alert(
        "StepdownSharedStateAway", "warning", "1m",
        "stepdown_shared_state_away == 1 or stepdown_shared_state_age_seconds > 30",
        "{{ $labels.instance }} does not reach the shared state: local answers end after `state.lease_s`, "
        "keys after `state.max_stale_s`.",
        "`shared_state` in `/status` says why; look at Valkey and the way to it.",
    ),
    Alert(
        "StepdownRecordsLag", "warning", "1m", "stepdown_decisions_oldest_wait_seconds > 60",
        "Decision records wait for the disk: `stepdown why` does not find the latest requests.",
        "Make room below STEPDOWN_HOME; after 20,000 waiting records they are dropped.",
    ),
    Alert(
        "StepdownProcessRestarts", "warning", "0m", "increase(stepdown_process_restarts_total[15m]) > 0",
        "{{ $labels.process }} ended and was started again.",
        "The service's log has its exit code.",
    ),
    Alert(
        "StepdownSpecialistsUnreachable", "warning", "5m",
        "stepdown_specialists_ready < stepdown_workers_running",
        "Workers do not reach the model host: the teacher answers everything.",
        "Look at the memory and the log of the model host.",
    ),
    Alert(
        "StepdownLearnerStuck", "warning", "10m",
        "(time() - stepdown_learner_step_ended_at > 7200) and "
        "(stepdown_harvest_rows > stepdown_learner_rows)",
        "The learner has finished no step for two hours, though rows wait.",
        "`stepdown learn status`; the log names the step. A restart of the service loses nothing.",
    ),
)  # fmt: skip
