"""The Prometheus registry as OTLP, sent at an interval."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricExporter,
    MetricExportResult,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from prometheus_client import Metric as Family
from prometheus_client.samples import Sample

from gateway.telemetry import semconv

logger = logging.getLogger(__name__)

_CUMULATIVE = AggregationTemporality.CUMULATIVE

Collect = Callable[[], Iterable[Family]]


class MetricsPush:
    """A thread that sends the families of `collect` to every exporter, once more when it is stopped.

    Sums are cumulative from `since` (unix seconds) on: the registry has no other kind.
    """

    def __init__(
        self,
        collect: Collect,
        exporters: Sequence[MetricExporter],
        resource: Resource,
        *,
        since: float,
        interval_s: float,
    ) -> None:
        self._collect = collect
        self._exporters = exporters
        self._resource = resource
        self._since_ns = int(since * 1e9)
        self._interval_s = interval_s
        self._is_failing = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="metrics-push", daemon=True)
        self._thread.start()

    def stop(self) -> threading.Thread:
        """Send the last state; return the thread, which ends when that is done."""
        self._stopping.set()
        return self._thread

    def _run(self) -> None:
        is_last = False
        while not is_last:
            is_last = self._stopping.wait(self._interval_s)
            try:
                self._push()
            except Exception:
                # The thread's edge: one failed collection must not end all later ones.
                logger.exception("metrics cannot be collected")
        for exporter in self._exporters:
            exporter.shutdown()

    def _push(self) -> None:
        data = to_metrics_data(self._collect(), self._resource, self._since_ns, time.time_ns())
        results = [exporter.export(data) for exporter in self._exporters]
        has_failed = any(result is not MetricExportResult.SUCCESS for result in results)
        if has_failed is not self._is_failing:
            self._is_failing = has_failed
            state = "cannot be exported (OTEL_EXPORTER_OTLP_*)" if has_failed else "are exported again"
            logger.warning("metrics %s", state)


def to_metrics_data(
    families: Iterable[Family], resource: Resource, since_ns: int, now_ns: int
) -> MetricsData:
    """Return `families` as the SDK's types, with the names and units of `telemetry.semconv`."""
    metrics = [_metric(family, since_ns, now_ns) for family in families if family.samples]
    scope = ScopeMetrics(scope=InstrumentationScope(semconv.SCOPE), metrics=metrics, schema_url="")
    return MetricsData([ResourceMetrics(resource=resource, scope_metrics=[scope], schema_url="")])


def _metric(family: Family, since_ns: int, now_ns: int) -> Metric:
    name, unit = semconv.METRICS.get(family.name, (family.name.replace("_", ".", 1), "1"))
    data: Sum | Gauge | Histogram
    match family.type:
        case "histogram":
            data = Histogram(_histogram_points(family.samples, since_ns, now_ns), _CUMULATIVE)
        case "counter":
            totals = [sample for sample in family.samples if sample.name.endswith("_total")]
            data = Sum(_points(totals, since_ns, now_ns), _CUMULATIVE, is_monotonic=True)
        case _:
            data = Gauge(_points(family.samples, since_ns, now_ns))
    return Metric(name=name, description=family.documentation, unit=unit, data=data)


def _points(samples: Sequence[Sample], since_ns: int, now_ns: int) -> list[NumberDataPoint]:
    return [NumberDataPoint(_attributes(sample.labels), since_ns, now_ns, sample.value) for sample in samples]


def _histogram_points(samples: Sequence[Sample], since_ns: int, now_ns: int) -> list[HistogramDataPoint]:
    """Return a point for each set of labels; its cumulative buckets become one count per bucket."""
    buckets: dict[tuple[tuple[str, str], ...], dict[float, float]] = {}
    sums: dict[tuple[tuple[str, str], ...], float] = {}
    for sample in samples:
        key = tuple(sorted((name, value) for name, value in sample.labels.items() if name != "le"))
        if sample.name.endswith("_bucket"):
            buckets.setdefault(key, {})[float(sample.labels["le"])] = sample.value
        elif sample.name.endswith("_sum"):
            sums[key] = sample.value
    return [
        _histogram_point(_attributes(dict(key)), found, sums.get(key, 0.0), since_ns, now_ns)
        for key, found in buckets.items()
    ]


def _histogram_point(
    attributes: semconv.Attributes, buckets: dict[float, float], total: float, since_ns: int, now_ns: int
) -> HistogramDataPoint:
    bounds = sorted(buckets)
    reached = [int(buckets[bound]) for bound in bounds]
    return HistogramDataPoint(
        attributes=attributes,
        start_time_unix_nano=since_ns,
        time_unix_nano=now_ns,
        count=reached[-1],
        sum=total,
        bucket_counts=[now - before for now, before in zip(reached, [0, *reached], strict=False)],
        explicit_bounds=bounds[:-1],
        # Prometheus keeps neither; they are optional in the protocol, but not in the SDK's type.
        min=None,  # type: ignore[arg-type]
        max=None,  # type: ignore[arg-type]
    )


def _attributes(labels: dict[str, str]) -> semconv.Attributes:
    return {semconv.LABELS.get(name, name): _value(name, value) for name, value in labels.items()}


def _value(label: str, value: str) -> str | bool | int:
    match label:
        case "status":
            return int(value)
        case "streamed":
            return value == "true"
        case "kind":
            return semconv.TOKEN_TYPES[value]
    return value
