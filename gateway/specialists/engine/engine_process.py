"""One run of an engine process, from its start to its end, and its messages."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from gateway.errors import SpecialistError
from gateway.ipc.child_process import end_process, start_module
from gateway.ipc.framing import FrameDecoder, FrameError
from gateway.specialists.engine.protocol import EngineReply, EngineRequest, Generate, decode_reply
from gateway.specialists.protocol import Failed, encode_frame

logger = logging.getLogger(__name__)

_MAX_WAITING = 64
_READ_BYTES = 1 << 16
_STOP_GRACE_S = 3.0
_TUNABLES, _LARGE_PAGES = "GLIBC_TUNABLES", "glibc.malloc.hugetlb"

Replies = queue.SimpleQueue[EngineReply]


class EngineProcess:
    """Starts the process; its methods may be called from any thread, and only `stop` waits for it.

    `on_end` is called with the seconds that it ran, after every waiting request was refused.
    """

    def __init__(self, folder: Path, memory_mb: int, on_end: Callable[[float], None]) -> None:
        self._on_end = on_end
        self._lock = threading.Lock()
        self._waiting: dict[int, Replies] = {}
        self._unsent: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self.has_ended = False
        self._started_at = time.monotonic()
        arguments = [str(folder), "--memory-mb", str(memory_mb)]
        self._process = start_module(
            "gateway.specialists.engine.main",
            arguments,
            stdout=subprocess.PIPE,
            env=ask_for_large_pages(os.environ),
        )
        self._reader = threading.Thread(target=self._read_replies, name="engine-out", daemon=True)
        self._writer = threading.Thread(target=self._write_requests, name="engine-in", daemon=True)
        self._reader.start()
        self._writer.start()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def send_request(self, request: Generate, replies: Replies) -> None:
        """Send `request` and put its replies into `replies`, until `forget_request`.

        Raises SpecialistError: "overloaded" when too many requests wait, "input unreadable" for
        text that is not Unicode, "specialist failed" when the process has just ended.
        """
        try:
            data = encode_frame(request)
        except UnicodeEncodeError:
            raise SpecialistError("input unreadable") from None
        with self._lock:
            if len(self._waiting) >= _MAX_WAITING:
                raise SpecialistError("overloaded")
            if self.has_ended:
                raise SpecialistError("specialist failed", "its engine has just died")
            self._waiting[request.id] = replies
        self._unsent.put(data)

    def forget_request(self, number: int) -> None:
        """Drop further replies to request `number`."""
        with self._lock:
            self._waiting.pop(number, None)

    def send(self, message: EngineRequest) -> None:
        """Send a message that has no reply."""
        self._unsent.put(encode_frame(message))

    def stop(self) -> None:
        """End the process and wait until it has ended."""
        end_process(self._process, _STOP_GRACE_S)
        self._reader.join(_STOP_GRACE_S)

    def _write_requests(self) -> None:
        """Write in a thread of its own: the pipe is full while the engine reads a long prompt."""
        pipe = self._process.stdin
        assert pipe is not None
        # The pipe breaks when the engine dies; the reader then refuses every waiting request.
        with contextlib.suppress(OSError), pipe:
            while data := self._unsent.get():
                pipe.write(data)
                pipe.flush()

    def _read_replies(self) -> None:
        pipe, decoder = self._process.stdout, FrameDecoder()
        assert pipe is not None
        try:
            with pipe:
                while data := os.read(pipe.fileno(), _READ_BYTES):
                    for payload in decoder.feed(data):
                        self._deliver(decode_reply(payload))
        except FrameError as exc:
            # Something printed before the engine took its output to itself, as a `sitecustomize` may:
            # no later frame can be found, and drafts would wait for theirs for ever.
            logger.error("an engine wrote what is no reply, and ends: %s", exc)
            self._process.kill()
        self._process.wait()
        self._unsent.put(None)
        with self._lock:
            self.has_ended = True
            waiting, self._waiting = self._waiting, {}
        for number, replies in waiting.items():
            replies.put(Failed(number, "specialist failed"))
        self._on_end(time.monotonic() - self._started_at)

    def _deliver(self, reply: EngineReply) -> None:
        with self._lock:
            replies = self._waiting.get(reply.id)
        if replies is not None:
            replies.put(reply)


def ask_for_large_pages(environment: Mapping[str, str]) -> dict[str, str]:
    """Return `environment` with the request that glibc's memory lie in pages of 2 MB.

    Each token reads all weights, which are 28,000 pages of 4 KB: an answer takes 7 % less time with
    large ones. Only a kernel that leaves it to each program listens (`transparent_hugepage/enabled`
    is madvise). An operator's own value stays.
    """
    theirs = environment.get(_TUNABLES, "")
    if _LARGE_PAGES in theirs:
        return dict(environment)
    return {**environment, _TUNABLES: f"{theirs}:{_LARGE_PAGES}=1".removeprefix(":")}
