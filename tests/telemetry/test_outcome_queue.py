"""The queue of Outcomes: it never delays an answer and counts every loss."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest

from gateway.core import Outcome, Reading
from gateway.telemetry.outcome_queue import OutcomeQueue
from tests.support.builders import outcome, reading, request


def read(seen: Outcome) -> Reading:
    return reading(text=f"{seen.answer.decode()}|{seen.encoding}|{seen.is_event_stream}|{seen.is_complete}")


class RecordingObserver:
    """An observer that remembers, and can be made to wait or to fail."""

    def __init__(self) -> None:
        self.seen: list[tuple[Outcome, Reading]] = []
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.exc: Exception | None = None

    def __call__(self, seen: Outcome, answer: Reading) -> None:
        self.may_go_on.wait()
        self.seen.append((seen, answer))
        if self.exc is not None:
            raise self.exc


def test_every_observer_gets_the_outcome_and_its_reading() -> None:
    first, second = RecordingObserver(), RecordingObserver()
    queue = OutcomeQueue(read, [first, second])
    sent = outcome(answer=b"hi", encoding="gzip", is_event_stream=True, is_complete=False)

    queue.put(sent)
    queue.close()

    assert first.seen == second.seen == [(sent, reading(text="hi|gzip|True|False"))]


def test_observers_run_in_another_thread_in_order() -> None:
    threads: set[int] = set()
    order: list[str] = []

    def note(seen: Outcome, answer: Reading) -> None:
        threads.add(threading.get_ident())
        order.append(seen.request.id)

    queue = OutcomeQueue(read, [note])
    for n in range(100):
        queue.put(outcome(request(id=str(n))))
    queue.close()

    assert order == [str(n) for n in range(100)]
    assert threading.get_ident() not in threads


@pytest.mark.parametrize(
    "bounds", [{"max_items": 3}, {"max_bytes": 3 * 100_000}], ids=["in items", "in bytes"]
)
def test_a_full_queue_drops_and_counts(bounds: dict[str, Any]) -> None:
    """The caller is never made to wait."""
    observer = RecordingObserver()
    observer.may_go_on.clear()
    queue = OutcomeQueue(read, [observer], **bounds)

    for _ in range(5):
        queue.put(outcome(answer=b"a" * 100_000))
    dropped = queue.dropped
    observer.may_go_on.set()
    queue.close()

    assert (dropped, len(observer.seen)) == (2, 3)


def test_there_is_room_again_once_outcomes_have_been_observed() -> None:
    queue = OutcomeQueue(read, [RecordingObserver()], max_items=1)
    for _ in range(3):
        queue.put(outcome())
        queue.flush()

    assert (queue.dropped, queue.waiting) == (0, 0)
    queue.close()


def test_a_broken_observer_does_not_silence_the_others(caplog: pytest.LogCaptureFixture) -> None:
    """It is counted every time and logged once per kind of error."""
    broken, sound = RecordingObserver(), RecordingObserver()
    queue = OutcomeQueue(read, [broken, sound])

    with caplog.at_level(logging.ERROR):
        for exc in (KeyError("a"), KeyError("b"), OSError("c")):
            broken.exc = exc
            queue.put(outcome())
            queue.flush()
    queue.close()

    assert len(sound.seen) == 3
    assert queue.faults == 3
    assert [record.getMessage().split(";")[0] for record in caplog.records] == [
        "RecordingObserver raised KeyError",
        "RecordingObserver raised OSError",
    ]


def test_a_broken_observer_does_not_log_the_prompt(caplog: pytest.LogCaptureFixture) -> None:
    broken = RecordingObserver()
    broken.exc = RuntimeError("nothing private")
    queue = OutcomeQueue(read, [broken])

    queue.put(outcome(request(text="my secret", body=b'"my secret"')))
    queue.close()

    assert "my secret" not in caplog.text


def test_closing_observes_waiting_outcomes() -> None:
    observer = RecordingObserver()
    observer.may_go_on.clear()
    queue = OutcomeQueue(read, [observer])
    for _ in range(10):
        queue.put(outcome())

    observer.may_go_on.set()
    queue.close()

    assert len(observer.seen) == 10


def test_an_outcome_after_closing_is_counted_as_dropped() -> None:
    queue = OutcomeQueue(read, [])
    queue.close()

    queue.put(outcome())
    queue.flush()

    assert queue.dropped == 1
