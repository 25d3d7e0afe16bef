"""The queue between the event loop and the observers of Outcomes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from gateway.background.bounded_queue import BoundedQueue
from gateway.core import Outcome, Reading

logger = logging.getLogger(__name__)

ReadOutcome = Callable[[Outcome], Reading]
"""Returns the content of an Outcome's answer; must not raise."""

Observe = Callable[[Outcome, Reading], None]

# An Outcome's own objects, without the two bodies.
OUTCOME_OVERHEAD_BYTES = 2048

# A thread that wakes for every request takes the interpreter from the event loop each time: waiting for
# company first took 20 % off the latency that the gateway adds, and 50 ms in place of 10 some CPU.
LINGER_S = 0.05
BATCH_OUTCOMES = 256
# The event loop gets the interpreter back after so many, 0.4 ms; it waits 5 ms for a thread that goes on.
AT_ONCE = 12
PAUSE_S = 0.0002


class OutcomeQueue(BoundedQueue[Outcome]):
    """Reads the answer of each Outcome once and passes both to every observer.

    The observers are called one after the other, from the queue's thread alone. One that raises
    is counted in `faults` and logged once per kind of error; the others still run.
    """

    def __init__(
        self,
        read: ReadOutcome,
        observers: Sequence[Observe],
        *,
        max_items: int = 20_000,
        max_bytes: int = 64 << 20,
    ) -> None:
        self.faults = 0
        self._read = read
        self._observers = observers
        self._logged: set[tuple[str, str]] = set()
        super().__init__(
            "outcomes",
            max_items=max_items,
            max_bytes=max_bytes,
            batch_items=BATCH_OUTCOMES,
            linger_s=LINGER_S,
        )

    def _handle(self, batch: list[Outcome]) -> int:
        for begin in range(0, len(batch), AT_ONCE):
            self._tell(part := batch[begin : begin + AT_ONCE])
            if len(part) == AT_ONCE:
                time.sleep(PAUSE_S)
        return 0

    def _size_of(self, item: Outcome) -> int:
        kept = item.excerpt
        return (
            OUTCOME_OVERHEAD_BYTES
            + len(item.request.body)
            + len(item.request.decoded or b"")
            + len(item.answer)
            + (0 if kept is None else len(kept.head) + len(kept.tail))
        )

    def _tell(self, outcomes: list[Outcome]) -> None:
        # Each step for all of them before the next step: its code then stays in the processor's cache. One
        # outcome after the other took 45 us each, eight in step take 32.
        told = [(outcome, self._read(outcome)) for outcome in outcomes]
        for observe in self._observers:
            for outcome, reading in told:
                try:
                    observe(outcome, reading)
                except Exception as exc:
                    # The thread's edge: a bug in one observer must not silence the others.
                    self._count_fault(observe, outcome, exc)

    def _count_fault(self, observe: Observe, outcome: Outcome, exc: Exception) -> None:
        self.faults += 1
        kind = (getattr(observe, "__qualname__", type(observe).__qualname__), type(exc).__name__)
        if kind not in self._logged:
            self._logged.add(kind)
            said = "%s raised %s; further ones are only counted (first for %s)"
            logger.error(said, *kind, outcome.request.id, exc_info=exc)
