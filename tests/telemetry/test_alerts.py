"""Alerts fire when they should and only then, by Prometheus' own checker (`make promtool`)."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.telemetry.alerts import ALERTS
from gateway.telemetry.monitoring import list_expressions

RULES = Path(__file__).parents[2] / "deploy/prometheus/alerts.yaml"
BESIDE = shutil.which("promtool", path=str(Path(sys.executable).parent))
PROMTOOL = shutil.which("promtool") or BESIDE

pytestmark = pytest.mark.skipif(PROMTOOL is None, reason="no promtool: `make promtool` fetches it")

WHERE = 'instance="a:1",job="stepdown"'
HOUR = 60


def series(name: str, values: str, labels: str = "") -> dict[str, str]:
    return {"series": f"{name}{{{labels}{',' if labels else ''}{WHERE}}}", "values": values}


BUDGET = 'budget="chat",period="day"'
CASES: dict[str, tuple[list[dict[str, str]], list[dict[str, str]], str]] = {
    # Series with which it fires, others with which it does not, and when it is looked at.
    "StepdownDown": ([series("up", "0x9")], [series("up", "1x9")], "5m"),
    "StepdownCertificateAlarm": (
        [series("stepdown_alarm_unacknowledged", "0 1x9", 'route="task-1"')],
        [series("stepdown_alarm_unacknowledged", "1 0x9", 'route="task-1"')],
        "1m",
    ),
    "StepdownSpecialistLost": (
        [series("stepdown_specialist_lost", "0 1x9", 'route="task-1"')],
        [series("stepdown_specialist_lost", "1 0x9", 'route="task-1"')],
        "5m",
    ),
    "StepdownCertificateLapses": (
        [
            series("stepdown_certificate_expires_at", "100000x200", 'route="t",stratum="new",target="x"'),
            series("stepdown_certificate_stage", "1x200", 'route="t",stratum="new",target="x",stage="live"'),
        ],
        [
            series("stepdown_certificate_expires_at", "900000x200", 'route="t",stratum="new",target="x"'),
            series("stepdown_certificate_stage", "1x200", 'route="t",stratum="new",target="x",stage="live"'),
        ],
        "90m",
    ),
    "StepdownBudgetNearlySpent": (
        [
            series("stepdown_budget_left_usd", "10 5 2", BUDGET),
            series("stepdown_budget_limit_usd", "10x9", BUDGET),
        ],
        [
            series("stepdown_budget_left_usd", "10 5 2.1", BUDGET),
            series("stepdown_budget_limit_usd", "10x9", BUDGET),
        ],
        "2m",
    ),
    "StepdownBudgetSpent": (
        [
            series("stepdown_budget_left_usd", "10 5 0", BUDGET),
            series("stepdown_budget_limit_usd", "10x9", BUDGET),
        ],
        [
            series("stepdown_budget_left_usd", "10 5 0.1", BUDGET),
            series("stepdown_budget_limit_usd", "10x9", BUDGET),
        ],
        "2m",
    ),
    "StepdownTeacherDown": (
        [series("stepdown_teacher_circuits_open", "0 2x9", 'teacher="openai"')],
        [series("stepdown_teacher_circuits_open", "0 2 0x9", 'teacher="openai"')],
        "3m",
    ),
    "StepdownSharedStateAway": (
        [
            series("stepdown_shared_state_away", "0 1x9"),
            series("stepdown_shared_state_age_seconds", "0 60 120x9"),
        ],
        [
            series("stepdown_shared_state_away", "0 1 0x9"),
            series("stepdown_shared_state_age_seconds", "0 20 0x9"),
        ],
        "4m",
    ),
    "StepdownDrops": (
        [
            series("stepdown_outcomes_dropped_total", "0x9"),
            series("stepdown_harvest_rows_dropped_total", "0 0 7x9"),
        ],
        [
            series("stepdown_outcomes_dropped_total", "3x9"),
            series("stepdown_harvest_rows_dropped_total", "0x9"),
        ],
        "5m",
    ),
    "StepdownStateStale": (
        [series("stepdown_workers_stale", "0 1x9"), series("stepdown_sums_age_seconds", "0x9")],
        [series("stepdown_workers_stale", "0x9"), series("stepdown_sums_age_seconds", "1x9")],
        "5m",
    ),
    "StepdownRecordsLag": (
        [series("stepdown_decisions_oldest_wait_seconds", "0+60x9")],
        [series("stepdown_decisions_oldest_wait_seconds", "0.5x9")],
        "5m",
    ),
    "StepdownProcessRestarts": (
        [series("stepdown_process_restarts_total", "0 0 1x9", 'process="worker 0"')],
        [series("stepdown_process_restarts_total", "1x9", 'process="worker 0"')],
        "5m",
    ),
    "StepdownSpecialistsUnreachable": (
        [series("stepdown_specialists_ready", "2 1x20"), series("stepdown_workers_running", "2x20")],
        [series("stepdown_specialists_ready", "2x20"), series("stepdown_workers_running", "2x20")],
        "15m",
    ),
    "StepdownLearnerStuck": (
        [
            series("stepdown_learner_step_ended_at", f"0x{3 * HOUR}"),
            series("stepdown_harvest_rows", f"900x{3 * HOUR}"),
            series("stepdown_learner_rows", f"300x{3 * HOUR}"),
        ],
        [
            series("stepdown_learner_step_ended_at", f"0x{3 * HOUR}"),
            series("stepdown_harvest_rows", f"300x{3 * HOUR}"),
            series("stepdown_learner_rows", f"300x{3 * HOUR}"),
        ],
        "150m",
    ),
}


def test_every_alert_has_a_case() -> None:
    assert CASES.keys() == {alert.name for alert in ALERTS}


def test_alerts_fire_when_they_should_and_only_then(tmp_path: Path) -> None:
    cases = [
        _case(name, quiet if is_quiet else loud, at, is_quiet=is_quiet)
        for name, (loud, quiet, at) in CASES.items()
        for is_quiet in (False, True)
    ]
    file = tmp_path / "test.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": cases}))

    ended = run("test", "rules", str(file))

    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_every_expression_of_the_dashboard_is_one(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": expression}
        for number, expression in enumerate(list_expressions())
    ]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))

    ended = run("check", "rules", str(file))

    assert ended.returncode == 0, ended.stdout + ended.stderr


def _case(name: str, given: list[dict[str, str]], at: str, *, is_quiet: bool) -> dict[str, Any]:
    """Return a test of promtool: the alert fires, by its number of samples in ALERTS, or it does not."""
    # ALERTS names every alert that fires: the labels of an alert need not be repeated for each.
    firing = f'count(ALERTS{{alertname="{name}",alertstate="firing"}}) or vector(0)'
    return {
        "name": f"{name}, {'quiet' if is_quiet else 'firing'}",
        "interval": "1m",
        "input_series": given,
        "promql_expr_test": [
            {"expr": firing, "eval_time": at, "exp_samples": [{"value": 0 if is_quiet else 1}]}
        ],
    }


def run(*words: str) -> subprocess.CompletedProcess[str]:
    assert PROMTOOL is not None
    return subprocess.run([PROMTOOL, *words], capture_output=True, text=True, check=False, timeout=120)
