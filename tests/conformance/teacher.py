"""A teacher made of raw sockets: replays exact bytes, records exact bytes, misbehaves as scripted."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from tests.conformance.wire import Head, MessageReader, read_body

PATIENCE_S = 20.0

Step = bytes | Callable[["TeacherRequest", socket.socket], None]
Play = Sequence[Step]
"""The teacher's reaction to one request: bytes to send, or actions on the connection."""


class TeacherRequest:
    """One request as it arrived. `left` is set if its sender left before the play was over."""

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

    def note_departure(self) -> None:
        """Note that the sender has left."""
        self.left_at = time.monotonic()
        self.left.set()


def cut(_: TeacherRequest, connection: socket.socket) -> None:
    """Close the connection in good order, in the middle of the answer."""
    connection.shutdown(socket.SHUT_RDWR)


def reset(_: TeacherRequest, connection: socket.socket) -> None:
    """Drop the connection with RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def hang(request: TeacherRequest, connection: socket.socket) -> None:
    """Send nothing until the other side closes."""
    with contextlib.suppress(OSError):
        connection.settimeout(PATIENCE_S)
        while connection.recv(65536):
            pass
    request.note_departure()
    raise ConnectionAbortedError


def wait_for(event: threading.Event) -> Step:
    """Continue when `event` is set."""

    def wait(_: TeacherRequest, __: socket.socket) -> None:
        assert event.wait(PATIENCE_S), "the check never let the teacher continue"

    return wait


def pause(seconds: float) -> Step:
    """Continue later: a teacher's network is slow."""
    return lambda _, __: time.sleep(seconds)


class Teacher:
    """Listens on 127.0.0.1; `plays` are used one per request, then `default_play` decides.

    Attributes and methods may be used from any thread.
    """

    def __init__(self, listener: socket.socket, default_play: Callable[[TeacherRequest], Play]) -> None:
        self._listener = listener
        self.port: int = listener.getsockname()[1]
        self.base_url = f"http://127.0.0.1:{self.port}/v1"
        self.default_play: Callable[[TeacherRequest], Play] = default_play
        self._plays: deque[Play] = deque()
        self._repeated: Play | None = None
        self._seen: list[TeacherRequest] = []
        self._connections: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._is_over = False

    def forget(self) -> None:
        """Drop the recorded requests and the scripted plays."""
        self._plays.clear()
        self._repeated = None
        self._seen = []

    def play(self, *plays: Play) -> None:
        """Answer the next requests by `plays`, one each."""
        self._plays.extend(plays)

    def repeat(self, play: Play) -> None:
        """Answer every request by `play`, retries included."""
        self._repeated = play

    @property
    def seen(self) -> list[TeacherRequest]:
        """All requests so far."""
        return list(self._seen)

    @property
    def last(self) -> TeacherRequest:
        """The latest request."""
        assert self._seen, "nothing reached the teacher"
        return self._seen[-1]

    def wait(self, count: int = 1) -> TeacherRequest:
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
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            thread = threading.Thread(
                target=self._teach, args=(connection, len(self._connections)), daemon=True
            )
            self._threads.append(thread)
            thread.start()

    def close(self) -> None:
        """End every connection."""
        self._is_over = True
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE_S)

    def close_idle(self) -> None:
        """Close every connection, like a server whose idle timeout has passed."""
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _teach(self, connection: socket.socket, number: int) -> None:
        reader = MessageReader(connection)
        with connection, contextlib.suppress(OSError, EOFError):
            while head := reader.read_head():
                if "100-continue" in map(str.lower, head.values("expect")):
                    connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
                request = TeacherRequest(head, read_body(reader, head), number)
                self._seen.append(request)
                self._do(request, connection)

    def _do(self, request: TeacherRequest, connection: socket.socket) -> None:
        for step in self._next(request):
            try:
                if isinstance(step, bytes):
                    connection.sendall(step)
                else:
                    step(request, connection)
            except OSError:
                if not request.left.is_set():
                    request.note_departure()
                raise

    def _next(self, request: TeacherRequest) -> Play:
        if self._plays:
            return self._plays.popleft()
        return self.default_play(request) if self._repeated is None else self._repeated


@contextmanager
def serve_teacher(default_play: Callable[[TeacherRequest], Play], port: int = 0) -> Iterator[Teacher]:
    """Run a teacher in a thread until the block ends."""
    listener = socket.create_server(("127.0.0.1", port), backlog=256)
    teacher = Teacher(listener, default_play)
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
