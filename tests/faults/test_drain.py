"""The end of a gateway: nothing hangs, streams finish or say that they were cut."""

from __future__ import annotations

import http.client
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from tests.api.site_server import CHAT, chat_body
from tests.faults.conftest import QUIET
from tests.support.processes import RunningGateway, gateway_process
from tests.support.waiting import PATIENCE_S, wait_for

EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n'
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
LAST = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'


class SlowTeacher:
    """Begins a stream for each request, and ends it when told."""

    def __init__(self, listener: socket.socket) -> None:
        self.base_url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        self.may_end = threading.Event()
        self.begun = 0
        self._listener = listener
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with closing(connection):
            connection.recv(65536)
            connection.sendall(HEAD + EVENT)
            self.begun += 1
            self.may_end.wait(PATIENCE_S)
            connection.sendall(LAST)


@pytest.fixture
def teacher() -> Iterator[SlowTeacher]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield SlowTeacher(listener)


class Stream(threading.Thread):
    """A client that reads one stream to its end."""

    def __init__(self, gateway: RunningGateway) -> None:
        super().__init__(daemon=True)
        self._port = gateway.port
        self.body = b""

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE_S)
        with closing(connection):
            body = chat_body(model="gpt-4o", stream=True)
            connection.request("POST", CHAT, body, {"content-type": "application/json"})
            answer = connection.getresponse()
            # Cut in the middle where the gateway was killed.
            with suppress(http.client.IncompleteRead):
                while piece := answer.read1(65536):
                    self.body += piece


@contextmanager
def streaming(home: Path, teacher: SlowTeacher, *flags: str) -> Iterator[tuple[RunningGateway, list[Stream]]]:
    """Run a gateway of two workers with six streams under way."""
    with gateway_process(
        home, "--open", "--workers", "2", *flags, OPENAI_BASE_URL=teacher.base_url, **QUIET
    ) as gateway:
        streams = [Stream(gateway) for _ in range(6)]
        for stream in streams:
            stream.start()
        wait_for(lambda: all(stream.body for stream in streams), "the streams do not begin")
        yield gateway, streams


def is_refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S).close()
    except (ConnectionRefusedError, ConnectionResetError):
        return True
    return False


def test_streams_that_end_in_time_end_whole_behind_a_closed_door(
    tmp_path: Path, teacher: SlowTeacher
) -> None:
    """Before, new connections hung for up to 24 s: the supervisor held the door open."""
    with streaming(tmp_path / "home", teacher, "--drain", "60") as (gateway, streams):
        gateway.process.send_signal(signal.SIGTERM)
        wait_for(lambda: is_refused(gateway.port), "new connections are taken in")
        teacher.may_end.set()
        for stream in streams:
            stream.join(PATIENCE_S)

        assert [stream.body.endswith(b"data: [DONE]\n\n") for stream in streams] == [True] * 6
        assert gateway.process.wait(PATIENCE_S) == 0


def test_streams_that_are_cut_say_so_and_all_at_once(tmp_path: Path, teacher: SlowTeacher) -> None:
    with streaming(tmp_path / "home", teacher, "--drain", "1") as (gateway, streams):
        asked_at = time.monotonic()
        gateway.process.send_signal(signal.SIGTERM)
        for stream in streams:
            stream.join(PATIENCE_S)
        took_s = time.monotonic() - asked_at

        assert [b'"code":"stream_cut"' in stream.body for stream in streams] == [True] * 6
        assert not any(b"[DONE]" in stream.body for stream in streams)
        assert took_s >= 1
        assert gateway.process.wait(PATIENCE_S) == 0


def test_a_request_that_has_half_arrived_is_told_to_come_again(tmp_path: Path, teacher: SlowTeacher) -> None:
    """Within what is left for last words: after that the server would cut it, with a traceback in the log."""
    with (
        gateway_process(
            tmp_path / "home", "--open", "--drain", "1", OPENAI_BASE_URL=teacher.base_url, **QUIET
        ) as gateway,
        socket.create_connection(("127.0.0.1", gateway.port), timeout=PATIENCE_S) as client,
    ):
        head = b"POST %b HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-length: 500\r\n\r\n"
        client.sendall(head % CHAT.encode())
        # Its body is awaited.
        assert client.recv(65536).startswith(b"HTTP/1.1 100 ")
        client.sendall(b"{")
        gateway.process.send_signal(signal.SIGTERM)
        answer = b"".join(iter(lambda: client.recv(65536), b""))

        assert answer.startswith(b"HTTP/1.1 503 ")
        assert answer.count(b"connection: close") == 1
        assert b"x-stepdown-reason: gateway stopping" in answer
        assert gateway.process.wait(PATIENCE_S) == 0


def test_before_its_end_a_gateway_is_unready_and_serves(tmp_path: Path, teacher: SlowTeacher) -> None:
    """So that a load balancer can look elsewhere first."""
    teacher.may_end.set()
    with streaming(tmp_path / "home", teacher, "--drain-delay", "5") as (gateway, streams):
        gateway.process.send_signal(signal.SIGTERM)
        wait_for(lambda: gateway.ask("GET", "/readyz").status == 503, "it says that it is ready")

        assert gateway.chat(model="gpt-4o", stream=True).status == 200
        assert streams
        assert gateway.process.wait(PATIENCE_S) == 0


def test_a_second_signal_does_not_wait(tmp_path: Path, teacher: SlowTeacher) -> None:
    with streaming(tmp_path / "home", teacher, "--drain", "600") as (gateway, _):
        gateway.process.send_signal(signal.SIGINT)
        wait_for(lambda: is_refused(gateway.port), "it does not drain")
        gateway.process.send_signal(signal.SIGINT)

        assert gateway.process.wait(PATIENCE_S) == 0
