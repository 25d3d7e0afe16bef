"""A simulated teacher behind a real socket, for tests of every room."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from gateway.demo.teacher.app import SimulatedTeacher
from gateway.demo.teacher.server import create_server


class RunningTeacher:
    """`control` is the teacher itself: `fail_next`, `seen`, `cancelled`, `pairs`, `forget()`."""

    def __init__(self, control: SimulatedTeacher, port: int) -> None:
        self.control = control
        self.port = port
        self.base_url = f"http://127.0.0.1:{port}/v1"


@contextmanager
def running_teacher(
    pairs: dict[str, str] | None = None, *, latency_ms: float = 0, api_key: str | None = None
) -> Iterator[RunningTeacher]:
    """Serve a simulated teacher in a thread until the block ends.

    `pairs` maps the text of the last user message to the answer.
    """
    control = SimulatedTeacher(pairs, latency_ms=latency_ms, api_key=api_key)
    # The kernel queues connections from here on: the first client need not wait for the thread.
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    server = create_server(control)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="teacher")
    thread.start()
    try:
        yield RunningTeacher(control, listener.getsockname()[1])
    finally:
        server.should_exit = server.force_exit = True
        thread.join()
        listener.close()


@pytest.fixture(scope="module")
def running() -> Iterator[RunningTeacher]:
    with running_teacher({"ping": "pong and more"}) as teacher:
        yield teacher


@pytest.fixture
def teacher(running: RunningTeacher) -> RunningTeacher:
    """The simulated teacher, which has seen nothing yet."""
    running.control.forget()
    return running
