"""A gateway that stops does not wait for websockets on which nothing is said."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.sync.connection import Connection
from websockets.sync.server import ServerConnection

from tests.support.processes import RunningGateway, gateway_process
from tests.support.waiting import PATIENCE_S, wait_for
from tests.support.websocket_server import websocket_server

DRAIN_S = 300
"""Far longer than a test may take: a websocket that is waited for makes it fail."""


class SlowTeacher:
    """A realtime teacher that begins a response when it is asked to, and ends it once `may_end`."""

    def __init__(self) -> None:
        self.may_end = threading.Event()
        self.heard: list[str] = []

    def speak(self, connection: ServerConnection) -> None:
        """Serve one client."""
        try:
            connection.send(json.dumps({"type": "session.created", "session": {"model": "gpt-realtime"}}))
            for message in connection:
                kind = json.loads(message)["type"]
                self.heard.append(kind)
                if kind == "response.create":
                    connection.send(json.dumps({"type": "response.created", "response": {"id": "r"}}))
                    assert self.may_end.wait(PATIENCE_S)
                    ended = {"id": "r", "status": "completed"}
                    connection.send(json.dumps({"type": "response.done", "response": ended}))
        except ConnectionClosed:
            pass


@pytest.fixture
def teacher() -> Iterator[SlowTeacher]:
    teacher = SlowTeacher()
    yield teacher
    teacher.may_end.set()


@contextmanager
def stopping_gateway(home: Path, teacher: SlowTeacher) -> Iterator[RunningGateway]:
    """Yield a gateway that ends at the latest with the test."""
    with (
        websocket_server(teacher.speak, ping_interval=None) as port,
        gateway_process(
            home,
            "--open",
            "--drain",
            str(DRAIN_S),
            OPENAI_BASE_URL=f"http://127.0.0.1:{port}/v1",
            STEPDOWN_LEARN_ENABLED="false",
        ) as gateway,
    ):
        yield gateway
        gateway.process.wait(PATIENCE_S)


def open_websocket(gateway: RunningGateway) -> ClientConnection:
    connection = connect(f"ws://127.0.0.1:{gateway.port}/v1/realtime?model=gpt-realtime", compression=None)
    assert receive(connection) == "session.created"
    return connection


def receive(connection: Connection) -> str:
    return str(json.loads(connection.recv(PATIENCE_S))["type"])


def expect_end(connection: Connection) -> None:
    """The client is told why in an event of OpenAI's, then that the service restarts."""
    error = json.loads(connection.recv(PATIENCE_S))["error"]
    with pytest.raises(ConnectionClosed) as closed:
        connection.recv(PATIENCE_S)
    assert error["code"] == "gateway_stopping"
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1012, "gateway_stopping")


def test_a_quiet_websocket_ends_at_once_and_one_with_a_response_after_it(
    home: Path, teacher: SlowTeacher
) -> None:
    with (
        stopping_gateway(home, teacher) as gateway,
        open_websocket(gateway) as quiet,
        open_websocket(gateway) as busy,
    ):
        busy.send('{"type": "response.create"}')
        assert receive(busy) == "response.created"

        gateway.process.send_signal(signal.SIGTERM)
        expect_end(quiet)
        teacher.may_end.set()

        assert receive(busy) == "response.done"
        expect_end(busy)


def test_who_is_speaking_is_not_interrupted(home: Path, teacher: SlowTeacher) -> None:
    """A client that sends its microphone's sound waits for an answer that nobody has asked for yet."""
    is_silent = threading.Event()
    with (
        stopping_gateway(home, teacher) as gateway,
        open_websocket(gateway) as quiet,
        open_websocket(gateway) as speaking,
    ):

        def speak() -> None:
            while not is_silent.wait(0.05):
                speaking.send('{"type": "input_audio_buffer.append", "audio": "AAAA"}')

        speaker = threading.Thread(target=speak)
        speaker.start()
        wait_for(lambda: bool(teacher.heard), "the teacher hears nothing")
        gateway.process.send_signal(signal.SIGTERM)
        expect_end(quiet)
        heard = len(teacher.heard)
        wait_for(lambda: len(teacher.heard) > heard + 30, "the speaker was cut off")
        is_silent.set()
        speaker.join()

        expect_end(speaking)
