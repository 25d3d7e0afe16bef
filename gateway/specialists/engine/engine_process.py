"""One life of an engine process, from its start to its end: what it is asked and what it says."""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

from gateway.errors import SpecialistError
from gateway.ipc.child_process import end_process, start_module
from gateway.ipc.framing import FrameDecoder, frame_payload
from gateway.specialists.engine.protocol import (
    Failed,
    FromEngine,
    Generate,
    ToEngine,
    encode,
    from_engine,
)

_MOST_WAITING = 64
_READ_BYTES = 1 << 16
_STOP_GRACE_S = 3.0

Replies = queue.SimpleQueue[FromEngine]


class EngineProcess:
    """Starts the process; every method may be called from any thread and none waits for the process.

    `when_over` is called with the seconds which it lived, after everybody who waits was refused.
    """

    def __init__(self, folder: Path, memory_mb: int, when_over: Callable[[float], None]) -> None:
        self._when_over = when_over
        self._lock = threading.Lock()
        self._waiting: dict[int, Replies] = {}
        self._outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self.is_over = False
        self._began = time.monotonic()
        arguments = [str(folder), "--memory-mb", str(memory_mb)]
        self._process = start_module("gateway.specialists.engine.main", arguments, stdout=subprocess.PIPE)
        self._reader = threading.Thread(target=self._read_for_ever, name="engine-out", daemon=True)
        self._writer = threading.Thread(target=self._write_for_ever, name="engine-in", daemon=True)
        self._reader.start()
        self._writer.start()

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def ask(self, order: Generate, replies: Replies) -> None:
        """Have what becomes of `order` put into `replies`, until `drop`.

        Raises SpecialistError("overloaded") when too many wait, "input unreadable" for text
        which is no Unicode.
        """
        try:
            data = frame_payload(encode(order))
        except UnicodeEncodeError:
            raise SpecialistError("input unreadable") from None
        with self._lock:
            if len(self._waiting) >= _MOST_WAITING:
                raise SpecialistError("overloaded")
            if self.is_over:
                raise SpecialistError("specialist failed", "its engine has just died")
            self._waiting[order.id] = replies
        self._outbox.put(data)

    def drop(self, number: int) -> None:
        """Listen no longer to what becomes of an order."""
        with self._lock:
            self._waiting.pop(number, None)

    def send(self, message: ToEngine) -> None:
        """Send what has no reply."""
        self._outbox.put(frame_payload(encode(message)))

    def end(self) -> None:
        """End the process and wait until it has."""
        end_process(self._process, _STOP_GRACE_S)
        self._reader.join(_STOP_GRACE_S)

    def _write_for_ever(self) -> None:
        """Write in a thread of its own: a pipe is full while the engine reads a long prompt."""
        pipe = self._process.stdin
        assert pipe is not None
        # Broken when the engine has died; the reader tells everybody.
        with contextlib.suppress(OSError), pipe:
            while data := self._outbox.get():
                pipe.write(data)
                pipe.flush()

    def _read_for_ever(self) -> None:
        pipe, frames = self._process.stdout, FrameDecoder()
        assert pipe is not None
        with pipe:
            while data := os.read(pipe.fileno(), _READ_BYTES):
                for payload in frames.feed(data):
                    self._hand_over(from_engine(payload))
        self._process.wait()
        self._outbox.put(None)
        with self._lock:
            self.is_over = True
            waiting, self._waiting = self._waiting, {}
        for number, replies in waiting.items():
            replies.put(Failed(number, "specialist failed"))
        self._when_over(time.monotonic() - self._began)

    def _hand_over(self, message: FromEngine) -> None:
        with self._lock:
            replies = self._waiting.get(message.id)
        if replies is not None:
            replies.put(message)
