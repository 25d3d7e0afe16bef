"""A teacher made of raw sockets: replays exact bytes, records exact bytes, misbehaves as told."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from tests.conformance.wire import Head, Source, read_body

PATIENCE_S = 20.0

Step = bytes | Callable[["Taught", socket.socket], None]
Play = Sequence[Step]
"""What the teacher does with one request: bytes to send, or something to do to the connection."""


class Taught:
    """One request as it arrived, and whether its sender left before the play was over."""

    def __init__(self, head: Head, body: bytes, connection: int) -> None:
        self.head = head
        self.body = body
        self.connection = connection
        self.left = threading.Event()
        self.left_at = 0.0

    @property
    def method(self) -> str:
        """GET, POST..."""
        return self.head.first.split(" ")[0]

    @property
    def target(self) -> str:
        """Raw path and query."""
        return self.head.first.split(" ")[1]

    @property
    def path(self) -> str:
        """Raw path."""
        return self.target.partition("?")[0]

    def value(self, name: str) -> str | None:
        """Return the only value of a header, None without one."""
        return self.head.value(name)

    def notice_leaving(self) -> None:
        """Note that whoever asked has gone."""
        self.left_at = time.monotonic()
        self.left.set()


def cut(_: Taught, plug: socket.socket) -> None:
    """Close the connection in good order, in the middle of whatever it was."""
    plug.shutdown(socket.SHUT_RDWR)


def reset(_: Taught, plug: socket.socket) -> None:
    """Drop the connection with RST."""
    plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    plug.close()


def hang(taught: Taught, plug: socket.socket) -> None:
    """Say nothing until the other side closes."""
    with contextlib.suppress(OSError):
        plug.settimeout(PATIENCE_S)
        while plug.recv(65536):
            pass
    taught.notice_leaving()
    raise ConnectionAbortedError


def wait_for(event: threading.Event) -> Step:
    """Go on when `event` happens."""

    def wait(_: Taught, __: socket.socket) -> None:
        assert event.wait(PATIENCE_S), "nobody let the teacher go on"

    return wait


def pause(seconds: float) -> Step:
    """Go on later: a teacher's network is slow."""
    return lambda _, __: time.sleep(seconds)


class Teacher:
    """Listens on 127.0.0.1; `plays` are used one a request, then `usual` decides.

    Attributes and methods may be used from any thread.
    """

    def __init__(self, listener: socket.socket, usual: Callable[[Taught], Play]) -> None:
        self._listener = listener
        self.port: int = listener.getsockname()[1]
        self.base_url = f"http://127.0.0.1:{self.port}/v1"
        self.usual: Callable[[Taught], Play] = usual
        self._plays: deque[Play] = deque()
        self._repeated: Play | None = None
        self._seen: list[Taught] = []
        self._plugs: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._is_over = False

    def forget(self) -> None:
        """Drop what was seen and what was scripted."""
        self._plays.clear()
        self._repeated = None
        self._seen = []

    def play(self, *plays: Play) -> None:
        """Do `plays` to the next requests, one each."""
        self._plays.extend(plays)

    def repeat(self, play: Play) -> None:
        """Do `play` to every request, retries included."""
        self._repeated = play

    @property
    def seen(self) -> list[Taught]:
        """Every request so far."""
        return list(self._seen)

    @property
    def last(self) -> Taught:
        """The latest request."""
        assert self._seen, "nothing reached the teacher"
        return self._seen[-1]

    def wait(self, count: int = 1) -> Taught:
        """Return the latest request once there were `count`."""
        deadline = time.monotonic() + PATIENCE_S
        while len(self._seen) < count:
            assert time.monotonic() < deadline, f"{len(self._seen)} of {count} requests reached the teacher"
            time.sleep(0.005)
        return self._seen[-1]

    def run(self) -> None:
        """Accept until `close`."""
        while not self._is_over:
            try:
                plug, _ = self._listener.accept()
            except OSError:
                return
            self._plugs.append(plug)
            thread = threading.Thread(target=self._teach, args=(plug, len(self._plugs)), daemon=True)
            self._threads.append(thread)
            thread.start()

    def close(self) -> None:
        """End every connection."""
        self._is_over = True
        for plug in self._plugs:
            with contextlib.suppress(OSError):
                plug.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE_S)

    def close_idle(self) -> None:
        """Close every connection, as a server does which has waited long enough."""
        for plug in self._plugs:
            with contextlib.suppress(OSError):
                plug.shutdown(socket.SHUT_RDWR)

    def _teach(self, plug: socket.socket, number: int) -> None:
        source = Source(plug)
        with plug, contextlib.suppress(OSError, EOFError):
            while head := source.head():
                if "100-continue" in map(str.lower, head.values("expect")):
                    plug.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
                taught = Taught(head, read_body(source, head), number)
                self._seen.append(taught)
                self._do(taught, plug)

    def _do(self, taught: Taught, plug: socket.socket) -> None:
        for step in self._next(taught):
            try:
                if isinstance(step, bytes):
                    plug.sendall(step)
                else:
                    step(taught, plug)
            except OSError:
                if not taught.left.is_set():
                    taught.notice_leaving()
                raise

    def _next(self, taught: Taught) -> Play:
        if self._plays:
            return self._plays.popleft()
        return self.usual(taught) if self._repeated is None else self._repeated


@contextmanager
def teaching(usual: Callable[[Taught], Play], port: int = 0) -> Iterator[Teacher]:
    """Run a teacher in a thread until the block ends."""
    listener = socket.create_server(("127.0.0.1", port), backlog=256)
    teacher = Teacher(listener, usual)
    thread = threading.Thread(target=teacher.run, name="teacher", daemon=True)
    thread.start()
    try:
        yield teacher
    finally:
        # Closing alone does not wake `accept`.
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(PATIENCE_S)
        teacher.close()
