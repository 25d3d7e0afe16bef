"""The queue of spans: exported in the background, bounded, counted when lost."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import SpanContext, TraceFlags

from gateway.telemetry import semconv, span_queue
from gateway.telemetry.span_queue import SpanQueue
from tests.support.waiting import PATIENCE_S


class Exporter(SpanExporter):
    """An exporter that can be made to hang and to fail."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.result = SpanExportResult.SUCCESS
        self.began = threading.Event()
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.began.set()
        assert self.may_go_on.wait(PATIENCE_S)
        self.names += [span.name for span in spans]
        return self.result


def span(name: str = "chat giant", content: str = "") -> ReadableSpan:
    return ReadableSpan(
        name,
        context=SpanContext(1, 1, False, TraceFlags(1)),
        attributes={semconv.INPUT_MESSAGES: content} if content else {},
    )


def queue_of(exporters: Sequence[SpanExporter], most: int, batch: int) -> SpanQueue:
    return SpanQueue(exporters, max_spans=most, batch_spans=batch, linger_s=60.0)


def test_waiting_spans_are_exported_at_the_end() -> None:
    exporter = Exporter()
    queue = queue_of([exporter], 100, 4)
    for number in range(10):
        queue.put(span(str(number)))

    queue.stop().join(PATIENCE_S)

    assert exporter.names == [str(number) for number in range(10)]
    assert (queue.waiting, queue.dropped) == (0, 0)


@pytest.mark.parametrize(("most", "content"), [(3, ""), (100, "x" * 30_000)], ids=["in spans", "in bytes"])
def test_a_receiver_that_hangs_fills_no_memory(
    most: int, content: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`put` never waits; a span that finds the queue full is dropped and counted."""
    monkeypatch.setattr(span_queue, "MAX_BYTES", 3 * (30_000 + span_queue.SPAN_BYTES))
    exporter = Exporter()
    exporter.may_go_on.clear()
    queue = queue_of([exporter], most, 1)

    for _ in range(50):
        queue.put(span(content=content))

    assert (queue.waiting, queue.dropped) == (3, 47)
    exporter.may_go_on.set()
    queue.stop().join(PATIENCE_S)
    assert len(exporter.names) == 3


def test_refused_spans_are_counted_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    exporter = Exporter()
    exporter.result = SpanExportResult.FAILURE
    queue = queue_of([exporter], 2, 2)

    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            queue.put(span())
        queue.stop().join(PATIENCE_S)

    assert (queue.waiting, queue.dropped) == (0, 2)
    assert len([record for record in caplog.records if "cannot be exported" in record.message]) == 1


def test_one_exporter_that_fails_does_not_keep_spans_from_the_other() -> None:
    failing, sound = Exporter(), Exporter()
    failing.result = SpanExportResult.FAILURE
    queue = queue_of([failing, sound], 10, 10)

    queue.put(span())
    queue.stop().join(PATIENCE_S)

    assert sound.names == ["chat giant"]
