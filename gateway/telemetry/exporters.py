"""What of the telemetry leaves this process: spans and metrics, where the environment asks for them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING

from gateway.core import Header, Request
from gateway.telemetry.metrics import Metrics, Probe
from gateway.telemetry.otel_env import OtelConfig
from gateway.telemetry.outcome_queue import Observe
from gateway.telemetry.trace_context import Tracing

if TYPE_CHECKING:
    from gateway.telemetry.otel_metrics import MetricsPush
    from gateway.telemetry.span_queue import SpanQueue

logger = logging.getLogger(__name__)

# A receiver which does not answer must not hold up the end of a worker.
CLOSE_S = 2.0


class Exporters:
    """The way out, closed by default: then OpenTelemetry's SDK (60 ms, 5 MB) is not even imported.

    `instance` tells this process from the others on this machine. A fault of the SDK's own
    configuration is logged, and nothing leaves.
    """

    def __init__(self, wanted: OtelConfig, instance: str, *, provider: str, base_url: str) -> None:
        self.observers: list[Observe] = []
        self.headers: Callable[[Request], tuple[Header, ...]] = attrgetter("headers")
        """Returns headers as the teacher is to see them: with our `traceparent` while we trace."""
        self._wanted = wanted
        self._instance = instance
        self._spans: SpanQueue | None = None
        self._push: MetricsPush | None = None
        if wanted.span_exporters:
            self._or_not(lambda: self._open_spans(provider, base_url))

    def probes(self) -> list[Probe]:
        """Return what operators must know about the spans."""
        if (spans := self._spans) is None:
            return []
        return [
            Probe("spans_waiting", "Spans not yet exported.", lambda: spans.waiting),
            Probe("spans_dropped_total", "Spans which could not be exported.", lambda: spans.dropped),
        ]

    def push(self, metrics: Metrics) -> None:
        """Export `metrics` at an interval, if the environment asks for it.

        For one process only of those which share their numbers.
        """
        if self._wanted.metric_exporters:
            self._or_not(lambda: self._open_push(metrics))

    def close(self) -> None:
        """Export what waits, for CLOSE_S at most; may block."""
        give_up_at = time.monotonic() + CLOSE_S
        stopping = [way.stop() for way in (self._spans, self._push) if way is not None]
        for thread in stopping:
            thread.join(max(0.0, give_up_at - time.monotonic()))

    def _open_spans(self, provider: str, base_url: str) -> None:
        from gateway.telemetry.otel_export import resource, span_exporters
        from gateway.telemetry.span_queue import SpanQueue
        from gateway.telemetry.spans import Spans

        wanted = self._wanted
        tracing = Tracing(wanted.sampler)
        self._spans = SpanQueue(
            span_exporters(wanted.span_exporters),
            max_spans=wanted.max_spans,
            batch_spans=wanted.batch_spans,
            linger_s=wanted.span_linger_s,
        )
        spans = Spans(
            tracing,
            self._spans.put,
            resource(self._instance),
            provider=provider,
            base_url=base_url,
            captures_content=wanted.captures_content,
        )
        self.observers.append(spans)
        self.headers = tracing.teacher_headers

    def _open_push(self, metrics: Metrics) -> None:
        from gateway.telemetry.otel_export import metric_exporters, resource
        from gateway.telemetry.otel_metrics import MetricsPush

        self._push = MetricsPush(
            metrics.collect,
            metric_exporters(self._wanted.metric_exporters),
            resource(self._instance),
            since=metrics.since(),
            interval_s=self._wanted.metric_interval_s,
        )

    @staticmethod
    def _or_not(opening: Callable[[], None]) -> None:
        try:
            opening()
        except (ValueError, RuntimeError, ImportError, OSError) as fault:
            logger.error("OTEL_*: telemetry is not exported: %s", fault)
