"""The exporters of spans and metrics that the environment asks for."""

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

# A receiver that does not answer must not hold up the end of a worker.
CLOSE_S = 2.0


class Exporters:
    """Exports what the environment asks for, by default nothing.

    OpenTelemetry's SDK (60 ms, 5 MB) is imported only if something is exported. `instance` tells
    this process from the others on this machine. If the SDK refuses its configuration, that is
    logged and nothing is exported.
    """

    def __init__(self, config: OtelConfig, instance: str, *, provider: str, base_url: str) -> None:
        self.observers: list[Observe] = []
        self.headers: Callable[[Request], tuple[Header, ...]] = attrgetter("headers")
        """Returns the headers that the teacher gets: with our `traceparent` if spans are exported."""
        self._config = config
        self._instance = instance
        self._spans: SpanQueue | None = None
        self._push: MetricsPush | None = None
        if config.span_exporters:
            _log_failure(lambda: self._open_spans(provider, base_url))

    def list_probes(self) -> list[Probe]:
        """Return the probes of the spans on their way out; none if spans are not exported."""
        if (spans := self._spans) is None:
            return []
        return [
            Probe("spans_waiting", "Spans not yet exported.", lambda: spans.waiting),
            Probe("spans_dropped_total", "Spans that could not be exported.", lambda: spans.dropped),
        ]

    def start_push(self, metrics: Metrics) -> None:
        """Export `metrics` at an interval, if the environment asks for it.

        Of the processes that share their numbers, only one may call it.
        """
        if self._config.metric_exporters:
            _log_failure(lambda: self._open_push(metrics))

    def close(self) -> None:
        """Export what waits, for CLOSE_S at most; may block."""
        give_up_at = time.monotonic() + CLOSE_S
        stopping = [exported.stop() for exported in (self._spans, self._push) if exported is not None]
        for thread in stopping:
            thread.join(max(0.0, give_up_at - time.monotonic()))

    def _open_spans(self, provider: str, base_url: str) -> None:
        from gateway.telemetry.otel_export import create_resource, create_span_exporters
        from gateway.telemetry.span_queue import SpanQueue
        from gateway.telemetry.spans import SpanObserver

        config = self._config
        tracing = Tracing(config.sampler)
        self._spans = SpanQueue(
            create_span_exporters(config.span_exporters),
            max_spans=config.max_spans,
            batch_spans=config.batch_spans,
            linger_s=config.span_linger_s,
        )
        observer = SpanObserver(
            tracing,
            self._spans.put,
            create_resource(self._instance),
            provider=provider,
            base_url=base_url,
            captures_content=config.captures_content,
        )
        self.observers.append(observer)
        self.headers = tracing.teacher_headers

    def _open_push(self, metrics: Metrics) -> None:
        from gateway.telemetry.otel_export import create_metric_exporters, create_resource
        from gateway.telemetry.otel_metrics import MetricsPush

        self._push = MetricsPush(
            metrics.collect,
            create_metric_exporters(self._config.metric_exporters),
            create_resource(self._instance),
            since=metrics.counting_since(),
            interval_s=self._config.metric_interval_s,
        )


def _log_failure(open_export: Callable[[], None]) -> None:
    """Call `open_export`, and log why it failed if it does."""
    try:
        open_export()
    except (ValueError, RuntimeError, ImportError, OSError) as exc:
        logger.error("OTEL_*: telemetry is not exported: %s", exc)
