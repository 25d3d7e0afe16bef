"""One base in a child process of its own, from the side of those who ask it for drafts."""

from __future__ import annotations

import itertools
import queue
import threading
import time
from pathlib import Path

from gateway.core import DraftRequest
from gateway.errors import SpecialistError
from gateway.ipc.backoff import Backoff
from gateway.specialists.base import Listener, Prediction
from gateway.specialists.engine.engine_process import EngineProcess, Replies
from gateway.specialists.engine.protocol import (
    Cancel,
    Drafted,
    Failed,
    Generate,
    Opened,
    Piece,
    UnloadAdapter,
)

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 30.0
_HEALTHY_AFTER_S = 30.0
"""A process which lived this long is started again at once: its death was no fault of the base."""


class EngineClient:
    """Asks its process for drafts, and starts it anew when it has died; for any thread.

    Deaths soon after the start are answered by growing pauses, in which every draft is refused.
    """

    def __init__(self, folder: Path, memory_mb: int) -> None:
        self._folder = folder
        self._memory_mb = memory_mb
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._life: EngineProcess | None = None
        self._backoff = Backoff(_FIRST_PAUSE_S, _LONGEST_PAUSE_S)
        self._not_before = 0.0

    @property
    def pid(self) -> int | None:
        """The process, or None between two lives."""
        engine_process = self._life
        return None if engine_process is None or engine_process.is_over else engine_process.pid

    def draft(
        self,
        adapter: Path | None,
        draft_request: DraftRequest,
        listener: Listener,
        *,
        most: int,
        hold_back: int | None,
    ) -> Prediction:
        """Return the proposal of the base with `adapter`, of at most `most` tokens; blocks.

        Raises SpecialistError: "overloaded", "out of memory", "input too long", "input
        unreadable", "schema not supported", "cancelled", "specialist failed".
        """
        replies: Replies = queue.SimpleQueue()
        order = Generate(next(self._numbers), str(adapter or ""), draft_request, most, hold_back)
        engine_process = self._living()
        engine_process.ask(order, replies)

        def withdraw() -> None:
            replies.put(Failed(order.id, "cancelled"))
            engine_process.send(Cancel(order.id))

        listener.when_left(withdraw)
        try:
            return _heard(replies, listener)
        finally:
            engine_process.drop(order.id)

    def forget(self, adapter: Path) -> None:
        """Free what the adapter takes."""
        if engine_process := self._life:
            engine_process.send(UnloadAdapter(str(adapter)))

    def close(self) -> None:
        """End the process; whoever waits for a draft is refused."""
        with self._lock:
            engine_process, self._life = self._life, None
        if engine_process is not None:
            engine_process.end()

    def _living(self) -> EngineProcess:
        with self._lock:
            if self._life is None or self._life.is_over:
                if time.monotonic() < self._not_before:
                    raise SpecialistError("specialist failed", "its engine died and is not started again yet")
                self._life = EngineProcess(self._folder, self._memory_mb, self._rest_after)
            return self._life

    def _rest_after(self, lived_s: float) -> None:
        """Put off the next start if this life was short."""
        with self._lock:
            if lived_s > _HEALTHY_AFTER_S:
                self._backoff.reset()
                return
            self._not_before = time.monotonic() + self._backoff.next_pause_s()


def _heard(replies: Replies, listener: Listener) -> Prediction:
    """Return the proposal which comes last, passing on what comes before it."""
    while True:
        match replies.get():
            case Drafted(prediction=prediction):
                return prediction
            case Opened(prediction=prediction):
                listener.opening(prediction)
            case Piece(text=text):
                listener.piece(text)
            case Failed(reason=reason):
                raise SpecialistError(reason)
