"""A bounded queue with a thread of its own that handles what waits in batches."""

from __future__ import annotations

import logging
import math
import queue
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Generic, TypeVar

logger = logging.getLogger(__name__)

Item = TypeVar("Item")

# The thread lingers in plain sleeps: a wait that can be cut short costs 10 us more CPU each time.
LONGEST_SLEEP_S = 0.01
# A flush is rare, so it polls and the thread need not signal what it has settled.
FLUSH_POLL_S = 0.001


class BoundedQueue(ABC, Generic[Item]):
    """Takes items without blocking and handles them in order; an item that finds it full is dropped.

    `put` is for one thread at a time, all else for any. A subclass says how a batch is handled and
    how large an item is; it calls `__init__` last, because that starts the thread. An item waits up
    to `linger_s` for company, until there are `batch_items`.
    """

    def __init__(
        self, name: str, *, max_items: int, max_bytes: int, batch_items: int, linger_s: float
    ) -> None:
        # Each counter has one writer, the caller of `put` or the thread: no lock is needed.
        self.accepted = self._accepted_bytes = self._refused = 0
        self._settled = self._settled_bytes = self._lost = 0
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._batch_items = batch_items
        self._sleeps = math.ceil(linger_s / LONGEST_SLEEP_S)
        self._sleep_s = linger_s / max(1, self._sleeps)
        self._urgent = 0
        """How many of the accepted items must be handled without lingering."""
        self._stopping = threading.Event()
        self._queue: queue.SimpleQueue[tuple[Item, int] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many accepted items are neither handled nor lost yet."""
        return self.accepted - self._settled

    @property
    def dropped(self) -> int:
        """How many items were refused by a full or stopped queue, or lost while they were handled."""
        return self._refused + self._lost

    def put(self, item: Item) -> bool:
        """Accept `item` without blocking; False if it was dropped."""
        is_full = (
            self.accepted - self._settled >= self._max_items
            or self._accepted_bytes - self._settled_bytes >= self._max_bytes
        )
        if is_full or self._stopping.is_set():
            self._refused += 1
            return False
        size = self._size_of(item)
        self.accepted += 1
        self._accepted_bytes += size
        self._queue.put((item, size))
        return True

    def hurry(self) -> None:
        """Let what was accepted so far wait for company no longer than LONGEST_SLEEP_S."""
        self._urgent = self.accepted

    def flush(self) -> None:
        """Return when every item accepted before is handled or lost; may block."""
        self._flush_until(lambda: False)

    def stop(self) -> threading.Thread:
        """Accept no more; return the thread, which ends when nothing waits any more."""
        self._stopping.set()
        self._urgent = self.accepted
        self._queue.put(None)
        return self._thread

    def close(self) -> None:
        """Accept no more and return when nothing waits any more; may block."""
        self.stop().join()

    @abstractmethod
    def _handle(self, batch: list[Item]) -> int:
        """Handle `batch` in the queue's own thread; return how many of its items are lost."""

    @abstractmethod
    def _size_of(self, item: Item) -> int:
        """Return about how many bytes of memory `item` holds; asked once per item."""

    def _finish(self) -> None:
        """Free what `_handle` used; called in the queue's own thread after the last batch."""

    def _flush_until(self, has_given_up: Callable[[], bool]) -> None:
        self._urgent = last = self.accepted
        while self._settled < last and self._thread.is_alive() and not has_given_up():
            time.sleep(FLUSH_POLL_S)

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            self._linger()
            item, size = first
            batch = [item]
            while len(batch) < self._batch_items and not self._queue.empty():
                if (following := self._queue.get()) is None:
                    self._queue.put(None)
                    break
                batch.append(following[0])
                size += following[1]
            self._settle(batch, size)
        self._finish()

    def _linger(self) -> None:
        # One pause, not one wait per item: a thread that wakes takes the interpreter from the event loop.
        for _ in range(self._sleeps):
            if self._settled < self._urgent or self._queue.qsize() + 1 >= self._batch_items:
                return
            time.sleep(self._sleep_s)

    def _settle(self, batch: list[Item], size: int) -> None:
        try:
            self._lost += self._handle(batch)
        except Exception:
            # The thread's edge: one batch that fails must not silence all later ones.
            self._lost += len(batch)
            logger.exception("%s: %d items are lost", self._thread.name, len(batch))
        self._settled_bytes += size
        self._settled += len(batch)
