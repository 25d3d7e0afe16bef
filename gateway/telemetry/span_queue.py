"""The queue of spans that wait for their export."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from gateway.background.bounded_queue import BoundedQueue
from gateway.telemetry import semconv

logger = logging.getLogger(__name__)

MAX_BYTES = 16 << 20
SPAN_BYTES = 2048
"""A span's own objects, measured at 1.2 KB, without captured content."""


# Not the SDK's own batch processor: that bounds the number of spans, not their bytes, and counts none.
class SpanQueue(BoundedQueue[ReadableSpan]):
    """Exports spans in batches; `dropped` also counts those that an exporter could not deliver."""

    def __init__(
        self, exporters: Sequence[SpanExporter], *, max_spans: int, batch_spans: int, linger_s: float
    ) -> None:
        self._exporters = exporters
        self._is_failing = False
        super().__init__(
            "spans", max_items=max_spans, max_bytes=MAX_BYTES, batch_items=batch_spans, linger_s=linger_s
        )

    def _handle(self, batch: list[ReadableSpan]) -> int:
        results = [exporter.export(batch) for exporter in self._exporters]
        has_failed = any(result is not SpanExportResult.SUCCESS for result in results)
        lost = len(batch) if has_failed else 0
        if has_failed is not self._is_failing:
            self._is_failing = has_failed
            state = "cannot be exported (OTEL_EXPORTER_OTLP_*)" if has_failed else "are exported again"
            logger.warning("spans %s; %d dropped so far", state, self.dropped + lost)
        return lost

    def _size_of(self, item: ReadableSpan) -> int:
        attributes = item.attributes or {}
        captured = (attributes.get(semconv.INPUT_MESSAGES, ""), attributes.get(semconv.OUTPUT_MESSAGES, ""))
        return SPAN_BYTES + sum(len(text) for text in captured if isinstance(text, str))

    def _finish(self) -> None:
        for exporter in self._exporters:
            exporter.shutdown()
