"""The listener through which a runtime's thread sends one draft back to its connection."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable

from gateway.specialists.base import Prediction
from gateway.specialists.protocol import HostReply, Opened, Piece

SendReply = Callable[[HostReply], None]


class ReplyListener:
    """A Listener that sends its replies on the event loop; its clock starts when work starts."""

    def __init__(
        self,
        number: int,
        loop: asyncio.AbstractEventLoop,
        send: SendReply,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """`number` is that of the request; `send` is called on `loop`; `clock` returns seconds."""
        self._number = number
        self._loop = loop
        self._send = send
        self._clock = clock
        self.is_learnt = False
        """Whether the version that drafts has learnt the request's text; set before work starts."""
        self._lock = threading.Lock()
        self._is_cancelled = False
        self._callbacks: list[Callable[[], None]] = []
        self._started_at = 0.0
        self._last_sign_at = 0.0

    def start_clock(self) -> None:
        """Note that work starts now."""
        self._started_at = self._last_sign_at = self._clock()

    def elapsed_ms(self) -> float:
        """Return the time since work started."""
        return (self._clock() - self._started_at) * 1_000

    def silence_s(self) -> float:
        """Return the time since work started or the last reply was sent."""
        return self._clock() - self._last_sign_at

    def cancel(self) -> None:
        """Note that the draft is wanted no longer; a second call does nothing."""
        with self._lock:
            self._is_cancelled = True
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def is_cancelled(self) -> bool:
        """See Listener."""
        return self._is_cancelled

    def add_cancel_callback(self, callback: Callable[[], None]) -> None:
        """See Listener."""
        with self._lock:
            if not self._is_cancelled:
                self._callbacks.append(callback)
                return
        callback()

    def on_opening(self, prediction: Prediction) -> None:
        """See Listener."""
        self._send_soon(Opened(self._number, prediction, self.elapsed_ms(), self.is_learnt))

    def on_piece(self, text: str) -> None:
        """See Listener."""
        self._send_soon(Piece(self._number, text))

    def _send_soon(self, reply: HostReply) -> None:
        self._last_sign_at = self._clock()
        # The loop is closed when a thread outlives the host's last moments.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._send, reply)
