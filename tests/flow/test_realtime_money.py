"""What websockets cost is in the ledger, and held to budgets, through the whole gateway."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.sync.connection import Connection
from websockets.sync.server import ServerConnection

from tests.support.processes import RunningGateway, gateway_process, stepdown
from tests.support.waiting import PATIENCE_S, wait_for
from tests.support.websocket_server import websocket_server

POLICIES = """
policies:
  - name: no-old
    models: [gpt-4-*]
    forbid: true
  - name: small
    callers: [small]
    paths: [/v1/realtime]
    usd_per_day: 0.7
  - name: sockets
    paths: [/v1/responses, /v1/realtime]
"""
# At the list price of gpt-realtime, $4 and $16 for a million: 0.8 dollars.
USAGE = {"input_tokens": 40_000, "output_tokens": 40_000, "total_tokens": 80_000}
RESPONSE_USD = 0.8


class Teacher:
    """Answers each `response.create` with three words, and says what they took; `asked` are its models."""

    def __init__(self) -> None:
        self.port = 0
        self.asked: list[str] = []
        self.ends = "response.done"
        self._responses = 0

    def speak(self, connection: ServerConnection) -> None:
        """Serve one client."""
        try:
            for message in connection:
                event = json.loads(message)
                if event["type"] == "response.create":
                    self.asked.append(event.get("model", ""))
                    self._respond(connection)
        except ConnectionClosed:
            pass

    def _respond(self, connection: ServerConnection) -> None:
        self._responses += 1
        response: dict[str, Any] = {"id": f"resp_{self._responses}", "status": "in_progress"}
        events: list[dict[str, Any]] = [
            {"type": "response.created", "response": response},
            *({"type": "response.output_text.delta", "delta": word} for word in ("one", "two", "three")),
            {"type": self.ends, "response": {**response, "status": "completed", "usage": USAGE}},
        ]
        for event in events:
            connection.send(json.dumps(event))


@contextmanager
def speaking_teacher() -> Iterator[Teacher]:
    teacher = Teacher()
    with websocket_server(teacher.speak) as teacher.port:
        yield teacher


@pytest.fixture(scope="module")
def teacher() -> Iterator[Teacher]:
    with speaking_teacher() as teacher:
        yield teacher


@pytest.fixture(scope="module")
def gateway(home: Path, teacher: Teacher) -> Iterator[RunningGateway]:
    policies = home.with_name("money-policies")
    policies.mkdir()
    (policies / "default.yaml").write_text(POLICIES)
    with gateway_process(
        home,
        STEPDOWN_POLICIES_FOLDER=str(policies),
        OPENAI_BASE_URL=f"http://127.0.0.1:{teacher.port}/v1",
        OPENAI_API_KEY="sk-own",
        STEPDOWN_LEARN_ENABLED="false",
    ) as running:
        yield running


def create_key(gateway: RunningGateway, name: str) -> str:
    made = stepdown(gateway.home, "keys", "create", "--name", name, "--json")
    return str(json.loads(made.stdout)["key"])


def open_realtime(gateway: RunningGateway, key: str, *, compression: str | None = None) -> ClientConnection:
    return connect(
        f"ws://127.0.0.1:{gateway.port}/v1/realtime?model=gpt-realtime",
        additional_headers={"authorization": f"Bearer {key}"},
        compression=compression,
    )


def connect_responses(
    gateway: RunningGateway, key: str, *, compression: str | None = "deflate"
) -> ClientConnection:
    return connect(
        f"ws://127.0.0.1:{gateway.port}/v1/responses",
        additional_headers={"authorization": f"Bearer {key}"},
        compression=compression,
    )


def ask(connection: Connection, **more: object) -> list[dict[str, Any]]:
    """Ask for a response; return its events to the last one."""
    connection.send(json.dumps({"type": "response.create", "event_id": "mine", **more}))
    events = [json.loads(connection.recv())]
    while events[-1]["type"] not in ("error", "response.done", "response.completed"):
        events.append(json.loads(connection.recv()))
    return events


def spent(gateway: RunningGateway, key: str) -> dict[str, Any]:
    """Return the sums of one key."""
    report = json.loads(stepdown(gateway.home, "costs", "report", "--by", "key", "--json").stdout)
    return next((row for row in report["groups"] if row["key"] == key), {"usd": 0.0, "requests": 0})


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_each_response_of_a_websocket_is_in_the_ledger(
    gateway: RunningGateway, compression: str | None
) -> None:
    name = f"app-{compression}"
    with open_realtime(gateway, create_key(gateway, name), compression=compression) as connection:
        for _ in range(3):
            assert ask(connection)[-1]["type"] == "response.done"

    wait_for(lambda: spent(gateway, name)["usd"] > 2.5 * RESPONSE_USD, "not all responses are booked")

    assert spent(gateway, name)["usd"] == pytest.approx(3 * RESPONSE_USD)
    listed = stepdown(gateway.home, "why", "--last", "1", "--status", "200").stdout.split()[0]
    assert listed[32:].startswith("-")
    assert "no specialist answers in one" in " ".join(stepdown(gateway.home, "why", listed).stdout.split())


def test_a_spent_budget_ends_the_websocket(gateway: RunningGateway, teacher: Teacher) -> None:
    """The client is told why in an event of OpenAI's, and gets a close frame; the teacher hears nothing."""
    with open_realtime(gateway, create_key(gateway, "small")) as connection:
        assert ask(connection)[-1]["type"] == "response.done"
        wait_for(lambda: spent(gateway, "small")["usd"] > 0, "the response is not booked")
        asked = len(teacher.asked)

        (event,) = ask(connection)
        with pytest.raises(ConnectionClosed) as closed:
            connection.recv()

    assert event["error"]["type"] == "insufficient_quota"
    assert event["error"]["event_id"] == "mine"
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1008, "budget_exceeded")
    assert len(teacher.asked) == asked


def test_the_official_client_gets_a_refused_model_as_an_error(
    gateway: RunningGateway, teacher: Teacher
) -> None:
    key = create_key(gateway, "official")
    asked = len(teacher.asked)
    teacher.ends = "response.completed"
    with (
        openai.OpenAI(base_url=gateway.base_url, api_key=key) as client,
        client.responses.connect() as connection,
    ):
        connection.response.create(model="gpt-4-turbo", input="hello")
        refused = connection.recv()
        connection.response.create(model="gpt-realtime", input="hello")
        kinds = [connection.recv().type for _ in range(5)]
    teacher.ends = "response.done"

    assert refused.type == "error"
    assert "forbids model 'gpt-4-turbo'" in str(refused)
    assert kinds[-1] == "response.completed"
    assert teacher.asked[asked:] == ["gpt-realtime"]
    wait_for(lambda: spent(gateway, "official")["usd"] > 0, "the response is not booked")


def test_no_tenant_continues_anothers_response(gateway: RunningGateway, teacher: Teacher) -> None:
    """Its own it may continue, on another connection, too."""
    maker, thief = (create_key(gateway, name) for name in ("maker", "thief"))
    with connect_responses(gateway, maker) as connection:
        made = ask(connection, model="gpt-realtime")[-1]["response"]["id"]
    asked = len(teacher.asked)

    with connect_responses(gateway, thief) as connection:
        (stolen,) = ask(connection, model="gpt-realtime", previous_response_id=made)
    with connect_responses(gateway, maker) as connection:
        continued = ask(connection, model="gpt-realtime", previous_response_id=made)

    assert stolen["error"]["code"] == "previous_response_not_found"
    assert stolen["error"]["param"] == "previous_response_id"
    assert continued[-1]["type"] == "response.done"
    assert len(teacher.asked) == asked + 1


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_what_follows_a_refused_message_reaches_the_teacher(
    gateway: RunningGateway, compression: str | None
) -> None:
    """A compressed message refers to none before it: the teacher does not have that."""
    key = create_key(gateway, f"eager-{compression}")
    with connect_responses(gateway, key, compression=compression) as connection:
        connection.send(json.dumps({"type": "response.create", "previous_response_id": "resp_unknown"}))
        kinds = [event["type"] for event in ask(connection, model="gpt-realtime")]
        kinds += [json.loads(connection.recv())["type"] for _ in range(5)]

    assert kinds[:2] == ["error", "response.created"]
    assert kinds[-1] == "response.done"


def test_a_websocket_is_told_that_its_key_has_ended(gateway: RunningGateway) -> None:
    with open_realtime(gateway, create_key(gateway, "ending")) as connection:
        assert ask(connection)[-1]["type"] == "response.done"
        assert stepdown(gateway.home, "keys", "revoke", "ending").returncode == 0

        event = json.loads(connection.recv(PATIENCE_S))
        with pytest.raises(ConnectionClosed) as closed:
            connection.recv()

    assert event["error"]["code"] == "invalid_api_key"
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008


def test_a_changed_key_binds_its_open_websocket(gateway: RunningGateway) -> None:
    name = "bound"
    with open_realtime(gateway, create_key(gateway, name)) as connection:
        assert ask(connection)[-1]["type"] == "response.done"

        assert stepdown(gateway.home, "keys", "change", name, "--model", "gpt-5*").returncode == 0
        wait_for(lambda: ask(connection)[-1]["type"] == "error", "the websocket does not know the change")
        assert ask(connection)[-1]["error"]["code"] == "model_not_allowed"

        terms = ("--model", "all", "--usd-per-day", "0")
        assert stepdown(gateway.home, "keys", "change", name, *terms).returncode == 0
        wait_for(
            lambda: ask(connection)[-1]["error"]["code"] == "budget_exceeded",
            "the websocket does not know its budget",
        )
