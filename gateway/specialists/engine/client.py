"""The client of one base model in an engine process of its own."""

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
from gateway.specialists.engine.protocol import Generate, UnloadAdapter
from gateway.specialists.protocol import Cancel, Drafted, Failed, Opened, Piece

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 30.0
_HEALTHY_AFTER_S = 30.0
"""A process that ran this long is started again at once: its death was not the fault of the base."""


class EngineClient:
    """Sends drafts to its process, and starts it again when it has died; for any thread.

    After a death soon after the start, every draft is refused during a growing pause.
    """

    def __init__(self, folder: Path, memory_mb: int, backoff: Backoff | None = None) -> None:
        """`folder` holds the verified base; the process takes at most `memory_mb`."""
        self._folder = folder
        self._memory_mb = memory_mb
        self._backoff = backoff or Backoff(_FIRST_PAUSE_S, _LONGEST_PAUSE_S)
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._process: EngineProcess | None = None
        self._not_before = 0.0

    @property
    def pid(self) -> int | None:
        """The process id, or None between two runs."""
        process = self._process
        return None if process is None or process.has_ended else process.pid

    def draft(
        self,
        adapter: Path | None,
        draft_request: DraftRequest,
        listener: Listener,
        *,
        max_new_tokens: int,
        hold_back: int | None,
    ) -> Prediction:
        """Return the answer of the base with `adapter`, of at most `max_new_tokens`; blocks.

        With `hold_back`, the score speaks of the first so many tokens. Raises SpecialistError:
        "overloaded", "out of memory", "input too long", "input unreadable", "schema not
        supported", "cancelled", "specialist failed".
        """
        replies: Replies = queue.SimpleQueue()
        number = next(self._numbers)
        request = Generate(number, str(adapter or ""), draft_request, max_new_tokens, hold_back)
        process = self._running_process()
        process.send_request(request, replies)

        def cancel() -> None:
            replies.put(Failed(number, "cancelled"))
            process.send(Cancel(number))

        listener.add_cancel_callback(cancel)
        try:
            return _wait_for_draft(replies, listener)
        finally:
            process.forget_request(number)

    def unload_adapter(self, adapter: Path) -> None:
        """Free the memory of an adapter."""
        if process := self._process:
            process.send(UnloadAdapter(str(adapter)))

    def close(self) -> None:
        """End the process; drafts in progress are refused."""
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            process.stop()

    def _running_process(self) -> EngineProcess:
        with self._lock:
            if self._process is None or self._process.has_ended:
                if time.monotonic() < self._not_before:
                    raise SpecialistError("specialist failed", "its engine died and is not started again yet")
                self._process = EngineProcess(self._folder, self._memory_mb, self._note_end)
            return self._process

    def _note_end(self, ran_s: float) -> None:
        """Put off the next start if this run was short."""
        with self._lock:
            if ran_s > _HEALTHY_AFTER_S:
                self._backoff.reset()
                return
            self._not_before = time.monotonic() + self._backoff.next_pause_s()


def _wait_for_draft(replies: Replies, listener: Listener) -> Prediction:
    """Return the prediction that comes last; pass on the opening and the pieces before it."""
    while True:
        match replies.get():
            case Drafted(prediction=prediction):
                return prediction
            case Opened(prediction=prediction):
                listener.on_opening(prediction)
            case Piece(text=text):
                listener.on_piece(text)
            case Failed(reason=reason):
                raise SpecialistError(reason)
