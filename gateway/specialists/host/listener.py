"""Whoever waits at the other end of a connection for one draft, as a runtime's thread sees him."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable

from gateway.specialists.base import Prediction
from gateway.specialists.protocol import Piece, Reply, opened

Send = Callable[[Reply], None]


class ReplyListener:
    """A Listener whose replies go out on the event loop; the clock starts when work starts."""

    def __init__(self, number: int, loop: asyncio.AbstractEventLoop, send: Send) -> None:
        self._number = number
        self._loop = loop
        self._send = send
        self._lock = threading.Lock()
        self._has_left = False
        self._acts: list[Callable[[], None]] = []
        self._began = 0.0
        self._spoke = 0.0

    def begin(self) -> None:
        """Note that work starts now."""
        self._began = self._spoke = time.perf_counter()

    def elapsed_ms(self) -> float:
        """Return how long work has been going on."""
        return (time.perf_counter() - self._began) * 1_000

    def silence_s(self) -> float:
        """Return how long nothing has been heard of the work."""
        return time.perf_counter() - self._spoke

    def leave(self) -> None:
        """Say that nobody waits any more; a second call does nothing."""
        with self._lock:
            self._has_left = True
            acts, self._acts = self._acts, []
        for act in acts:
            act()

    def has_left(self) -> bool:
        """See Listener."""
        return self._has_left

    def when_left(self, act: Callable[[], None]) -> None:
        """See Listener."""
        with self._lock:
            if not self._has_left:
                self._acts.append(act)
                return
        act()

    def opening(self, prediction: Prediction) -> None:
        """See Listener."""
        self._say(opened(self._number, prediction, self.elapsed_ms()))

    def piece(self, text: str) -> None:
        """See Listener."""
        self._say(Piece(self._number, text))

    def _say(self, reply: Reply) -> None:
        self._spoke = time.perf_counter()
        # The loop is closed when a thread outlives the host's last moments.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._send, reply)
