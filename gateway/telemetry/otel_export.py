"""OpenTelemetry's resource and exporters; imported only if something is exported."""

from __future__ import annotations

import logging
import socket
import uuid
from collections.abc import Callable

from opentelemetry.sdk.metrics.export import ConsoleMetricExporter, MetricExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SpanExporter

import gateway

logger = logging.getLogger(__name__)


def create_resource(instance: str) -> Resource:
    """Return the attributes of this process; `instance` tells the processes of one machine apart.

    OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES override ours.
    """
    ours = {
        "service.name": "stepdown",
        "service.version": gateway.__version__,
        # The same after a restart, as the conventions ask.
        "service.instance.id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{socket.gethostname()}/{instance}")),
    }
    return Resource.create({**ours, **OTELResourceDetector().detect().attributes})


def create_span_exporters(names: tuple[str, ...]) -> list[SpanExporter]:
    """Return the exporters called `names`; they read their endpoint and headers from OTEL_*."""
    return [_SPAN_EXPORTERS[name]() for name in names]


def create_metric_exporters(names: tuple[str, ...]) -> list[MetricExporter]:
    """Return the exporters called `names`; they read their endpoint and headers from OTEL_*."""
    return [_METRIC_EXPORTERS[name]() for name in names]


def _otlp_spans() -> SpanExporter:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter()


def _otlp_metrics() -> MetricExporter:
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

    return OTLPMetricExporter()


_SPAN_EXPORTERS: dict[str, Callable[[], SpanExporter]] = {
    "otlp": _otlp_spans, "console": ConsoleSpanExporter,
}  # fmt: skip
_METRIC_EXPORTERS: dict[str, Callable[[], MetricExporter]] = {
    "otlp": _otlp_metrics, "console": ConsoleMetricExporter,
}  # fmt: skip
