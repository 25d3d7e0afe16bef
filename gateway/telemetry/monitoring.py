"""What monitoring needs of the catalog and the alerts: a table, Prometheus rules, a Grafana dashboard."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby
from typing import Any

import msgspec

from gateway.telemetry.alerts import ALERTS
from gateway.telemetry.catalog import CATALOG, MetricFacts

_METRICS_HEAD = """\
# Metrics

Generated from the code by `stepdown config reference metrics`; do not edit. They are at `/metrics` of the
admin port, summed over all workers. Labels that clients can choose have a bounded number of values;
later ones are called `other`.
"""
_RULES_HEAD = """\
# Generated from the code by `stepdown config reference alerts`; do not edit.
# The job that scrapes stepdown must be called `stepdown`.
"""
_UNITS = (("_usd", "currencyUSD"), ("_usd_total", "currencyUSD"), ("_seconds", "s"))
_QUANTILES = (0.5, 0.99)
_COLUMNS, _WIDTH, _HEIGHT = 24, 8, 7


def write_metrics() -> str:
    """Return the table of metrics as Markdown."""
    lines = [_METRICS_HEAD]
    for topic, facts in groupby(CATALOG, key=lambda one: one.topic):
        lines += [f"## {topic}\n", "| metric | kind | labels | |", "|---|---|---|---|"]
        lines += [f"| `{one.name}` | {one.kind} | {', '.join(one.labels)} | {one.text} |" for one in facts]
        lines.append("")
    return "\n".join(lines)


def write_alerts() -> str:
    """Return the alerts as a file of Prometheus rules."""
    return _RULES_HEAD + "\n".join(_write_rules()) + "\n"


def write_dashboard() -> str:
    """Return a Grafana dashboard with a panel for each metric, as JSON."""
    dashboard = {
        "uid": "stepdown",
        "title": "stepdown",
        "description": "Generated from the code by `stepdown config reference dashboard`; do not edit.",
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "tags": ["stepdown"],
        "templating": {
            "list": [
                {"name": "source", "type": "datasource", "query": "prometheus", "label": "Data source"},
                {
                    "name": "instance", "type": "query", "label": "Instance", "multi": True,
                    "includeAll": True, "datasource": {"type": "prometheus", "uid": "${source}"},
                    "query": "label_values(stepdown_workers_running, instance)", "refresh": 2,
                },
            ]
        },
        "panels": list(_list_panels()),
    }  # fmt: skip
    return msgspec.json.format(msgspec.json.encode(dashboard), indent=1).decode() + "\n"


def list_expressions() -> list[str]:
    """Return every expression of the dashboard, as Prometheus reads it."""
    written = [target["expr"] for panel in _list_panels() for target in panel.get("targets", ())]
    return [one.replace("$__rate_interval", "5m").replace("$instance", ".*") for one in written]


def find_metric_names(expression: str) -> set[str]:
    """Return the metrics that an expression reads; those of a histogram by the histogram's name."""
    names = set(re.findall(r"\bstepdown_\w+", expression))
    return {name.removesuffix("_bucket") for name in names}


def _write_rules() -> Iterator[str]:
    yield "groups:"
    yield "  - name: stepdown"
    yield "    rules:"
    for alert in ALERTS:
        yield f"      - alert: {alert.name}"
        yield f"        expr: {_quote(alert.expression)}"
        yield f"        for: {alert.hold}"
        yield f"        labels: {{severity: {alert.severity}}}"
        yield "        annotations:"
        yield f"          summary: {_quote(alert.summary)}"
        yield f"          description: {_quote(alert.advice)}"


def _quote(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _list_panels() -> Iterator[dict[str, Any]]:
    number = top = 0
    for topic, facts in groupby(CATALOG, key=lambda one: one.topic):
        place = {"x": 0, "y": top, "w": _COLUMNS, "h": 1}
        number, top = number + 1, top + 1
        yield {
            "id": number,
            "type": "row",
            "title": topic,
            "collapsed": False,
            "gridPos": place,
            "panels": [],
        }
        left = 0
        for one in facts:
            if left + _WIDTH > _COLUMNS:
                left, top = 0, top + _HEIGHT
            number += 1
            place = {"x": left, "y": top, "w": _WIDTH, "h": _HEIGHT}
            yield {"id": number, "gridPos": place, **_describe_panel(one)}
            left += _WIDTH
        top += _HEIGHT


def _describe_panel(facts: MetricFacts) -> dict[str, Any]:
    source = {"type": "prometheus", "uid": "${source}"}
    unit = next((unit for suffix, unit in _UNITS if facts.name.endswith(suffix)), "short")
    return {
        "type": "timeseries",
        "title": facts.name.removeprefix("stepdown_").removesuffix("_total").replace("_", " "),
        "description": facts.text,
        "datasource": source,
        "fieldConfig": {"defaults": {"unit": unit}, "overrides": []},
        "targets": [
            {"refId": letter, "datasource": source, "expr": expression, "legendFormat": legend}
            for letter, (expression, legend) in zip("AB", _list_queries(facts), strict=False)
        ],
    }


def _list_queries(facts: MetricFacts) -> Iterator[tuple[str, str]]:
    """Yield expression and legend of each line of a panel."""
    chosen = '{instance=~"$instance"}'
    legend = " ".join(f"{{{{{label}}}}}" for label in facts.by) or facts.name
    by = f" by ({', '.join(facts.by)})" if facts.by else ""
    if facts.kind == "histogram":
        buckets = f"rate({facts.name}_bucket{chosen}[$__rate_interval])"
        for quantile in _QUANTILES:
            by = f"({', '.join(('le', *facts.by))})"
            yield f"histogram_quantile({quantile}, sum by {by} ({buckets}))", f"{legend} p{quantile * 100:g}"
    elif facts.kind == "counter":
        yield f"sum{by} (rate({facts.name}{chosen}[$__rate_interval]))", f"{legend} per second"
    else:
        yield f"sum{by} ({facts.name}{chosen})", legend
