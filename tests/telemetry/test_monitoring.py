"""The committed monitoring files say what the code says, and name only metrics that there are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from gateway.telemetry.alerts import ALERTS
from gateway.telemetry.catalog import CATALOG
from gateway.telemetry.monitoring import (
    find_metric_names,
    list_expressions,
    write_alerts,
    write_dashboard,
    write_metrics,
)

DEPLOY = Path(__file__).parents[2] / "deploy"
NAMES = {facts.name for facts in CATALOG}


@pytest.mark.parametrize(
    ("file", "written"),
    [
        ("METRICS.md", write_metrics()),
        ("prometheus/alerts.yaml", write_alerts()),
        ("grafana/stepdown.json", write_dashboard()),
    ],
)
def test_the_committed_file_is_what_the_code_says(file: str, written: str) -> None:
    """To mend it: `stepdown config reference metrics|alerts|dashboard > FILE`."""
    assert (DEPLOY / file).read_text(encoding="utf-8") == written


def test_alerts_and_panels_read_only_metrics_of_the_catalog() -> None:
    for expression in (*(alert.expression for alert in ALERTS), *list_expressions()):
        assert find_metric_names(expression) <= NAMES, expression


def test_every_metric_has_a_panel() -> None:
    shown = {name for expression in list_expressions() for name in find_metric_names(expression)}

    assert shown == NAMES


def test_no_panel_lies_over_another() -> None:
    places = [panel["gridPos"] for panel in json.loads(write_dashboard())["panels"]]
    taken = [
        (place["x"] + x, place["y"] + y)
        for place in places
        for x in range(place["w"])
        for y in range(place["h"])
    ]

    assert len(taken) == len(set(taken))
    assert max(x for x, _ in taken) < 24


def test_the_rules_are_yaml_with_a_rule_per_alert() -> None:
    [group] = yaml.safe_load(write_alerts())["groups"]

    assert [rule["alert"] for rule in group["rules"]] == [alert.name for alert in ALERTS]
    assert [rule["expr"] for rule in group["rules"]] == [alert.expression for alert in ALERTS]
