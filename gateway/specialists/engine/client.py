"""One base in a child process of its own, from the side of those who ask it for drafts."""

from __future__ import annotations

import itertools
import queue
import threading
import time
from pathlib import Path

from gateway.core import Brief
from gateway.errors import SpecialistError
from gateway.specialists.base import Listener, Proposal
from gateway.specialists.engine.engine_process import Life, Replies
from gateway.specialists.engine.protocol import Beginning, Forget, More, Order, Refused, Whole, Withdraw

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 30.0
_HEALTHY_AFTER_S = 30.0
"""A process which lived this long is started again at once: its death was no fault of the base."""


class Engine:
    """Asks its process for drafts, and starts it anew when it has died; for any thread.

    Deaths soon after the start are answered by growing pauses, in which every draft is refused.
    """

    def __init__(self, folder: Path, memory_mb: int) -> None:
        self._folder = folder
        self._memory_mb = memory_mb
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._life: Life | None = None
        self._pause_s = _FIRST_PAUSE_S
        self._not_before = 0.0

    @property
    def pid(self) -> int | None:
        """The process, or None between two lives."""
        life = self._life
        return None if life is None or life.is_over else life.pid

    def draft(
        self, adapter: Path | None, brief: Brief, listener: Listener, *, most: int, hold_back: int | None
    ) -> Proposal:
        """Return the proposal of the base with `adapter`, of at most `most` tokens; blocks.

        Raises SpecialistError: "overloaded", "out of memory", "input too long", "input
        unreadable", "schema not supported", "cancelled", "specialist failed".
        """
        replies: Replies = queue.SimpleQueue()
        order = Order(next(self._numbers), str(adapter or ""), brief, most, hold_back)
        life = self._living()
        life.ask(order, replies)

        def withdraw() -> None:
            replies.put(Refused(order.id, "cancelled"))
            life.send(Withdraw(order.id))

        listener.when_left(withdraw)
        try:
            return _heard(replies, listener)
        finally:
            life.drop(order.id)

    def forget(self, adapter: Path) -> None:
        """Free what the adapter takes."""
        if life := self._life:
            life.send(Forget(str(adapter)))

    def close(self) -> None:
        """End the process; whoever waits for a draft is refused."""
        with self._lock:
            life, self._life = self._life, None
        if life is not None:
            life.end()

    def _living(self) -> Life:
        with self._lock:
            if self._life is None or self._life.is_over:
                if time.monotonic() < self._not_before:
                    raise SpecialistError("specialist failed", "its engine died and is not started again yet")
                self._life = Life(self._folder, self._memory_mb, self._rest_after)
            return self._life

    def _rest_after(self, lived_s: float) -> None:
        """Put off the next start if this life was short."""
        with self._lock:
            if lived_s > _HEALTHY_AFTER_S:
                self._pause_s = _FIRST_PAUSE_S
                return
            self._not_before = time.monotonic() + self._pause_s
            self._pause_s = min(self._pause_s * 2, _LONGEST_PAUSE_S)


def _heard(replies: Replies, listener: Listener) -> Proposal:
    """Return the proposal which comes last, passing on what comes before it."""
    while True:
        match replies.get():
            case Whole(proposal=proposal):
                return proposal
            case Beginning(proposal=proposal):
                listener.opening(proposal)
            case More(text=text):
                listener.piece(text)
            case Refused(reason=reason):
                raise SpecialistError(reason)
