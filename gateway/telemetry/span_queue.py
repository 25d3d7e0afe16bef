"""Spans on their way out: bounded while they wait, counted when they are lost."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from gateway.telemetry import semconv

logger = logging.getLogger(__name__)

MOST_BYTES = 16 << 20
SPAN_BYTES = 2048
"""A span's own objects, measured at 1.2 KB, without captured content."""


class SpanQueue:
    """Takes spans from one thread without blocking; the SDK's batch processor exports them.

    What finds `most_spans`, or MOST_BYTES, waiting, and what no exporter could deliver, is `dropped`.
    """

    def __init__(self, exporters: Sequence[SpanExporter], most_spans: int, spans_a_batch: int) -> None:
        self._most_spans = most_spans
        self._refused = 0
        self._accepted = self._accepted_bytes = 0
        self._watched = _Watched(exporters)
        self._processor = BatchSpanProcessor(
            self._watched, max_queue_size=most_spans, max_export_batch_size=spans_a_batch
        )

    def put(self, span: ReadableSpan) -> None:
        """Take `span`, or count it as dropped."""
        size = _size(span)
        if self.waiting >= self._most_spans or self._waiting_bytes() + size > MOST_BYTES:
            self._refused += 1
            return
        self._accepted += 1
        self._accepted_bytes += size
        self._processor.on_end(span)

    @property
    def waiting(self) -> int:
        """How many spans have been taken and not been exported yet."""
        return self._accepted - self._watched.settled

    @property
    def dropped(self) -> int:
        """How many spans are lost."""
        return self._refused + self._watched.failed

    def stop(self) -> threading.Thread:
        """Take no more and export what waits; return the thread which ends when that is done."""
        # The SDK's own shutdown waits up to 30 s; a daemon thread ends with the process.
        stopping = threading.Thread(target=self._processor.shutdown, name="spans-stop", daemon=True)
        stopping.start()
        return stopping

    def _waiting_bytes(self) -> int:
        return self._accepted_bytes - self._watched.settled_bytes


class _Watched(SpanExporter):
    """Exporters behind one face which counts what becomes of spans; called from one thread."""

    def __init__(self, exporters: Sequence[SpanExporter]) -> None:
        self.settled = self.settled_bytes = self.failed = 0
        self._exporters = exporters
        self._is_failing = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        results = [exporter.export(spans) for exporter in self._exporters]
        has_failed = any(result is not SpanExportResult.SUCCESS for result in results)
        if has_failed:
            self.failed += len(spans)
        if has_failed is not self._is_failing:
            self._is_failing = has_failed
            state = "cannot be exported (OTEL_EXPORTER_OTLP_*)" if has_failed else "are exported again"
            logger.warning("spans %s; %d could not be so far", state, self.failed)
        self.settled_bytes += sum(map(_size, spans))
        self.settled += len(spans)
        return SpanExportResult.FAILURE if has_failed else SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        for exporter in self._exporters:
            exporter.shutdown()


def _size(span: ReadableSpan) -> int:
    attributes = span.attributes or {}
    captured = (attributes.get(semconv.INPUT_MESSAGES, ""), attributes.get(semconv.OUTPUT_MESSAGES, ""))
    return SPAN_BYTES + sum(len(text) for text in captured if isinstance(text, str))
