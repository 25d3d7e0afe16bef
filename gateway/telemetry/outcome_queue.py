"""The queue between the event loop and whoever observes Outcomes."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence

from gateway.core import Outcome, Reading

logger = logging.getLogger(__name__)

Read = Callable[[Outcome], Reading]
"""Returns what the answer of an Outcome says; must not raise."""

Observe = Callable[[Outcome, Reading], None]

# An Outcome's own objects, without the two bodies.
OUTCOME_OVERHEAD_BYTES = 2048

# A thread which wakes for every request takes the interpreter from the event loop each time:
# waiting for company first took 20 % off the latency which the gateway adds.
LINGER_S = 0.01


class OutcomeQueue:
    """Takes Outcomes without blocking; a thread reads each answer once and tells every observer.

    The observers are called one after the other, from that thread alone. One which raises
    is counted in `faults` and logged once per kind of error; the others still run. What
    finds the queue full is counted in `dropped`. Call it from one thread at a time.
    """

    def __init__(
        self,
        read: Read,
        observers: Sequence[Observe],
        *,
        max_items: int = 20_000,
        max_bytes: int = 64 << 20,
    ) -> None:
        self.dropped = 0
        self.faults = 0
        self._read = read
        self._observers = observers
        self._max_items = max_items
        self._max_bytes = max_bytes
        # Each counter has one writer, so that neither side ever waits for a lock.
        self._accepted = self._accepted_bytes = 0
        self._settled = self._settled_bytes = 0
        self._is_closed = False
        self._logged: set[tuple[str, str]] = set()
        self._queue: queue.SimpleQueue[Outcome | threading.Event | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="outcomes", daemon=True)
        self._thread.start()

    def __call__(self, outcome: Outcome) -> None:
        """Take `outcome`, or count it as dropped. Never blocks, never raises."""
        is_full = (
            self._accepted - self._settled >= self._max_items
            or self._accepted_bytes - self._settled_bytes >= self._max_bytes
        )
        if is_full or self._is_closed:
            self.dropped += 1
            return
        self._accepted += 1
        self._accepted_bytes += _size(outcome)
        self._queue.put(outcome)

    @property
    def depth(self) -> int:
        """How many Outcomes wait or are being observed."""
        return self._accepted - self._settled

    def flush(self) -> None:
        """Return when every Outcome taken before has been observed; may block."""
        done = threading.Event()
        self._queue.put(done)
        while self._thread.is_alive() and not done.wait(0.05):
            pass

    def close(self) -> None:
        """Take no more, return when all taken have been observed; may block."""
        self._is_closed = True
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            if isinstance(item, threading.Event):
                item.set()
                continue
            if self._queue.empty():
                time.sleep(LINGER_S)
            self._tell(item)
            self._settled += 1
            self._settled_bytes += _size(item)

    def _tell(self, outcome: Outcome) -> None:
        reading = self._read(outcome)
        for observe in self._observers:
            try:
                observe(outcome, reading)
            except Exception as fault:
                # The thread's edge: a bug in one observer must not silence the others.
                self._count(observe, fault)

    def _count(self, observe: Observe, fault: Exception) -> None:
        self.faults += 1
        kind = (getattr(observe, "__qualname__", type(observe).__qualname__), type(fault).__name__)
        if kind not in self._logged:
            self._logged.add(kind)
            logger.error("%s raised %s; further ones are only counted", *kind, exc_info=fault)


def _size(outcome: Outcome) -> int:
    return OUTCOME_OVERHEAD_BYTES + len(outcome.request.body) + len(outcome.answer)
