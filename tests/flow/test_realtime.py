"""The official client talks to a realtime teacher through the whole gateway."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import openai
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.sync.server import ServerConnection
from websockets.typing import Origin, Subprotocol

from tests.support.processes import RunningGateway, gateway_process, stepdown
from tests.support.waiting import PATIENCE_S, wait_for
from tests.support.websocket_server import websocket_server

OWN_KEY = "sk-own"
# Its messages name the model, and no rule reads them: a policy must open it.
POLICY = "policies:\n  - name: sockets\n    paths: [/v1/responses]\n  - name: rest\n"
WORDS = ("Hello", " there")


class Realtime:
    """A realtime teacher: greets, answers each `response.create`, and notes when a client left."""

    def __init__(self) -> None:
        self.port = 0
        self.paths: list[str] = []
        self.keys: list[str | None] = []
        self.left = threading.Event()

    def speak(self, connection: ServerConnection) -> None:
        """Serve one client."""
        assert connection.request is not None
        self.paths.append(connection.request.path)
        self.keys.append(connection.request.headers.get("authorization"))
        try:
            _say(connection, "session.created", session={"type": "realtime", "model": "gpt-realtime"})
            for message in connection:
                if json.loads(message)["type"] == "response.create":
                    self._respond(connection)
        except ConnectionClosed:
            pass
        finally:
            self.left.set()

    def _respond(self, connection: ServerConnection) -> None:
        place = {"response_id": "r", "item_id": "i", "output_index": 0, "content_index": 0}
        for word in WORDS:
            _say(connection, "response.output_text.delta", delta=word, **place)
        _say(connection, "response.done", response={"id": "r", "status": "completed"})


def _say(connection: ServerConnection, kind: str, **fields: object) -> None:
    connection.send(json.dumps({"type": kind, "event_id": "e", **fields}))


def _choose(_: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    return Subprotocol("realtime") if "realtime" in offered else None


@contextmanager
def realtime_teacher() -> Iterator[Realtime]:
    teacher = Realtime()
    # Without pings of its own: only the gateway may tell it that a client has left.
    with websocket_server(teacher.speak, select_subprotocol=_choose, ping_interval=None) as teacher.port:
        yield teacher


@pytest.fixture(scope="module")
def teacher() -> Iterator[Realtime]:
    with realtime_teacher() as teacher:
        yield teacher


@pytest.fixture(scope="module")
def gateway(home: Path, teacher: Realtime) -> Iterator[RunningGateway]:
    policies = home.with_name("realtime-policies")
    policies.mkdir()
    (policies / "default.yaml").write_text(POLICY)
    with gateway_process(
        home,
        STEPDOWN_POLICIES_FOLDER=str(policies),
        OPENAI_BASE_URL=f"http://127.0.0.1:{teacher.port}/v1",
        OPENAI_API_KEY=OWN_KEY,
        STEPDOWN_LEARN_ENABLED="false",
    ) as running:
        yield running


@pytest.fixture(scope="module")
def key(gateway: RunningGateway) -> str:
    made = stepdown(gateway.home, "keys", "create", "--name", "tests", "--json")
    key = str(json.loads(made.stdout)["key"])
    known = {"authorization": f"Bearer {key}"}
    wait_for(lambda: gateway.ask("GET", "/v1/x", headers=known).status != 401, "the key is not known")
    return key


def test_the_official_client_receives_every_event(
    gateway: RunningGateway, teacher: Realtime, key: str
) -> None:
    with (
        openai.OpenAI(base_url=gateway.base_url, api_key=key) as client,
        client.realtime.connect(model="gpt-realtime") as connection,
    ):
        assert connection.recv().type == "session.created"
        connection.response.create()
        events = [connection.recv() for _ in range(len(WORDS) + 1)]

    text = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(text) == "Hello there"
    assert events[-1].type == "response.done"
    assert teacher.paths[-1] == "/v1/realtime?model=gpt-realtime"
    assert teacher.keys[-1] == f"Bearer {OWN_KEY}", "the client's key is the gateway's, not the teacher's"


def test_the_official_client_uses_responses_over_a_websocket(
    gateway: RunningGateway, teacher: Realtime, key: str
) -> None:
    with (
        openai.OpenAI(base_url=gateway.base_url, api_key=key) as client,
        client.responses.connect() as connection,
    ):
        assert json.loads(connection.recv_bytes())["type"] == "session.created"

    assert teacher.paths[-1] == "/v1/responses"


def test_a_browser_is_admitted_with_its_key_as_a_subprotocol(
    gateway: RunningGateway, teacher: Realtime, key: str
) -> None:
    offered = [Subprotocol("realtime"), Subprotocol(f"openai-insecure-api-key.{key}")]
    with connect(
        f"ws://127.0.0.1:{gateway.port}/v1/realtime?model=x",
        subprotocols=offered,
        origin=Origin("https://app.example"),
    ) as connection:
        assert json.loads(connection.recv())["type"] == "session.created"
        assert connection.subprotocol == "realtime"

    assert teacher.keys[-1] == f"Bearer {OWN_KEY}"


def test_the_official_client_learns_that_its_key_is_wrong(gateway: RunningGateway) -> None:
    with (
        openai.OpenAI(base_url=gateway.base_url, api_key="sk-wrong", max_retries=0) as client,
        pytest.raises(Exception, match="HTTP 401"),
        client.realtime.connect(model="gpt-realtime"),
    ):
        pass


def test_a_lost_client_ends_the_teachers_connection(
    gateway: RunningGateway, teacher: Realtime, key: str
) -> None:
    connection = connect(
        f"ws://127.0.0.1:{gateway.port}/v1/realtime?model=gpt-realtime",
        additional_headers={"authorization": f"Bearer {key}"},
    )
    connection.recv()
    teacher.left.clear()

    # Not close(): the client's own reading thread would keep the socket alive.
    connection.socket.shutdown(socket.SHUT_RDWR)

    assert teacher.left.wait(PATIENCE_S)
    with contextlib.suppress(ConnectionClosed, OSError):
        connection.close()
