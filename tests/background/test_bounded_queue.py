"""The bounded queue: never in the way of its caller, exact about what it lost."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

import pytest

from gateway.background.bounded_queue import BoundedQueue

WAIT_S = 5.0


class Collector(BoundedQueue[str]):
    """Collects batches, and can be made to wait or to fail."""

    def __init__(self, **changes: Any) -> None:
        self.batches: list[list[str]] = []
        self.threads: set[int] = set()
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.exc: Exception | None = None
        self.is_finished = False
        bounds = {"max_items": 100, "max_bytes": 1_000, "batch_items": 10, "linger_s": 0.0}
        super().__init__("collector", **bounds | changes)

    def _handle(self, batch: list[str]) -> int:
        assert self.may_go_on.wait(WAIT_S)
        if self.exc:
            raise self.exc
        self.threads.add(threading.get_ident())
        self.batches.append(batch)
        return batch.count("lost")

    def _size_of(self, item: str) -> int:
        return len(item)

    def _finish(self) -> None:
        self.is_finished = True


def filled(queue: Collector, *items: str) -> list[bool]:
    """Return whether `queue` took each of the items."""
    return [queue.put(item) for item in items]


def test_items_are_handled_in_order_in_another_thread() -> None:
    queue = Collector()

    filled(queue, *map(str, range(50)))
    queue.close()

    assert [item for batch in queue.batches for item in batch] == [str(n) for n in range(50)]
    assert threading.get_ident() not in queue.threads
    assert (queue.accepted, queue.waiting, queue.dropped, queue.is_finished) == (50, 0, 0, True)


@pytest.mark.parametrize("bound", [{"max_items": 3}, {"max_bytes": 30}], ids=["in items", "in bytes"])
def test_a_full_queue_drops_and_counts(bound: dict[str, int]) -> None:
    """What is being handled still counts: it still holds its memory."""
    queue = Collector(**bound)
    queue.may_go_on.clear()

    taken = filled(queue, *["ten bytes!"] * 5)

    assert taken == [True, True, True, False, False]
    assert (queue.waiting, queue.dropped) == (3, 2)
    queue.may_go_on.set()
    queue.flush()
    assert filled(queue, "again") == [True]
    queue.close()


def test_what_is_lost_while_it_is_handled_is_dropped_too() -> None:
    queue = Collector()

    filled(queue, "kept", "lost")
    queue.close()

    assert (queue.waiting, queue.dropped) == (0, 1)


def test_a_batch_that_fails_costs_none_of_the_others(caplog: pytest.LogCaptureFixture) -> None:
    queue = Collector()

    with caplog.at_level(logging.ERROR):
        queue.exc = OSError("disk")
        filled(queue, "a")
        queue.flush()
        queue.exc = None
        filled(queue, "b")
        queue.close()

    assert (queue.batches, queue.waiting, queue.dropped) == ([["b"]], 0, 1)
    assert "collector: 1 items are lost" in caplog.text


def test_items_wait_for_company() -> None:
    queue = Collector(linger_s=60.0, batch_items=3)

    filled(queue, "a", "b", "c", "d")
    queue.close()

    assert queue.batches == [["a", "b", "c"], ["d"]]


@pytest.mark.parametrize("end", [Collector.flush, Collector.close], ids=["flush", "close"])
def test_no_flush_waits_for_company(end: Any) -> None:
    queue = Collector(linger_s=60.0)
    began = time.monotonic()

    filled(queue, "a")
    end(queue)

    assert queue.batches == [["a"]]
    assert time.monotonic() - began < 30
    queue.close()


def test_a_stopped_queue_takes_nothing_and_ends_by_itself() -> None:
    queue = Collector()
    queue.may_go_on.clear()
    filled(queue, "a")

    thread = queue.stop()

    assert filled(queue, "b") == [False]
    queue.may_go_on.set()
    thread.join(WAIT_S)
    assert (queue.batches, queue.dropped, thread.is_alive()) == ([["a"]], 1, False)
    queue.flush()
