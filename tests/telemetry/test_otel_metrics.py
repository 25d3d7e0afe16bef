"""The Prometheus registry as OTLP: the same numbers, under OpenTelemetry's names."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Histogram,
    Metric,
    MetricExporter,
    MetricExportResult,
    MetricsData,
    NumberDataPoint,
    Sum,
)
from opentelemetry.sdk.resources import Resource

from gateway.core import Certification
from gateway.telemetry.metrics import Metrics, Probe
from gateway.telemetry.otel_metrics import MetricsPush, to_metrics_data
from tests.support.builders import certificate, outcome, reading
from tests.support.waiting import PATIENCE_S


class Exporter(MetricExporter):
    """Keeps the exported data."""

    def __init__(self, fault: Exception | None = None) -> None:
        super().__init__()
        self.got: list[MetricsData] = []
        self.arrived = threading.Event()
        self._fault = fault

    def export(self, metrics_data: MetricsData, *_: Any, **__: Any) -> MetricExportResult:
        self.got.append(metrics_data)
        if len(self.got) > 1:
            self.arrived.set()
        return MetricExportResult.SUCCESS if self._fault is None else MetricExportResult.FAILURE

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return True

    def shutdown(self, timeout_millis: float = 30_000, **_: Any) -> None:
        """Nothing to free."""


def sent(metrics: Metrics) -> dict[str, Metric]:
    """Return the metrics that would be sent now, by name."""
    data = to_metrics_data(metrics.collect(), Resource({}), since_ns=1, now_ns=2)
    return {metric.name: metric for metric in data.resource_metrics[0].scope_metrics[0].metrics}


def number(metric: Metric) -> float:
    """Return the value of a metric with one point."""
    (point,) = metric.data.data_points
    assert isinstance(point, NumberDataPoint)
    return point.value


def counted() -> Metrics:
    metrics = Metrics(
        [Probe("queue_depth", "Waiting.", lambda: 3.0), Probe("rows_dropped_total", "Dropped.", lambda: 5.0)],
        lambda: [Certification(task="cards", version=1, certificates=(certificate(threshold=0.8),))],
    )
    metrics(outcome(latency_ms=800.0, first_byte_ms=700.0), reading())
    metrics(outcome(decision="local", latency_ms=3.0, first_byte_ms=2.0, status=200), reading())
    metrics(outcome(decision="local", latency_ms=4.0, first_byte_ms=0.0, status=500), reading(usage=None))
    metrics.update_registry()
    return metrics


def test_counters_become_cumulative_sums() -> None:
    requests = sent(counted())["stepdown.requests"].data

    assert isinstance(requests, Sum)
    assert (requests.is_monotonic, requests.aggregation_temporality) == (
        True,
        AggregationTemporality.CUMULATIVE,
    )
    statuses = {
        (point.attributes["stepdown.decision"], point.attributes["http.response.status_code"]): point.value
        for point in requests.data_points
        if point.attributes
    }
    assert statuses == {("escalated", 200): 1, ("local", 200): 1, ("local", 500): 1}
    assert {(point.start_time_unix_nano, point.time_unix_nano) for point in requests.data_points} == {(1, 2)}


def test_each_bucket_has_its_own_count() -> None:
    """Prometheus' buckets include all the smaller ones, OTLP's do not."""
    duration = sent(counted())["gen_ai.server.request.duration"]

    assert duration.unit == "s"
    assert isinstance(duration.data, Histogram)
    (local,) = [
        point
        for point in duration.data.data_points
        if point.attributes and point.attributes["stepdown.decision"] == "local"
    ]
    assert (local.count, sum(local.bucket_counts), local.sum) == (2, 2, 0.007)
    assert len(local.bucket_counts) == len(local.explicit_bounds) + 1
    assert local.bucket_counts[local.explicit_bounds.index(0.005)] == 2


def test_probes_and_certificates_are_sent_too() -> None:
    names = sent(counted())

    assert (number(names["stepdown.queue_depth"]), number(names["stepdown.rows_dropped"])) == (3, 5)
    threshold = names["stepdown.certificate_threshold"]
    assert number(threshold) == 0.8
    assert threshold.data.data_points[0].attributes == {
        "stepdown.route": "cards",
        "stepdown.stratum": "new",
        "stepdown.target": "0.02/0.1",
    }


def test_tokens_have_opentelemetrys_kinds() -> None:
    tokens = sent(counted())["stepdown.tokens"].data

    kinds = {point.attributes["gen_ai.token.type"] for point in tokens.data_points if point.attributes}
    assert kinds == {"input", "output"}


def pushed(collect: Callable[[], Any], exporter: Exporter, interval_s: float) -> MetricsPush:
    return MetricsPush(collect, [exporter], Resource({}), since=1.0, interval_s=interval_s)


def test_metrics_are_sent_at_an_interval_and_at_the_end() -> None:
    exporter = Exporter()

    push = pushed(counted().collect, exporter, 0.001)
    assert exporter.arrived.wait(PATIENCE_S)
    push.stop().join(PATIENCE_S)

    late = Exporter()
    pushed(counted().collect, late, 3600.0).stop().join(PATIENCE_S)
    assert len(late.got) == 1


def test_one_failed_collection_does_not_end_the_later_ones() -> None:
    exporter = Exporter()
    faults = iter([OSError("disk")])

    def collect() -> Any:
        if fault := next(faults, None):
            raise fault
        return counted().collect()

    push = pushed(collect, exporter, 0.001)
    assert exporter.arrived.wait(PATIENCE_S)
    push.stop().join(PATIENCE_S)
