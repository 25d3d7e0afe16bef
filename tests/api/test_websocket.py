"""A websocket through the gateway is the teacher's own, and neither side outlives the other."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest
import uvicorn
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from gateway.api.app import create_app
from gateway.api.auth import Authenticator
from gateway.api.dependencies import ApiDependencies
from gateway.api.http.connections import Connections
from gateway.api.http.edge import Config as EdgeConfig
from gateway.api.http.protocol import create_protocol
from gateway.api.websocket import create_websockets
from gateway.core import Secret
from gateway.store.keys import KeyFacts
from gateway.upstream.base import Config
from gateway.upstream.client import HttpClient
from gateway.upstream.providers.openai import create
from tests.support.passage import passage_to
from tests.support.waiting import PATIENCE_S

PATH = "/v1/realtime?model=gpt-realtime"
GATEWAY_KEY = "sk-gateway"
BEARER = {"authorization": f"Bearer {GATEWAY_KEY}"}
CONSENT = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n"
HANDSHAKE = (
    b"GET /v1/realtime HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: websocket\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)

Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


HOLDER = KeyFacts(id="key_1", name="tests", tenant="tests", is_trusted=True, created_at=0.0)
"""The holder of GATEWAY_KEY."""


class QuietServer(uvicorn.Server):
    """A server that leaves signals alone."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def find_key(digest: str) -> KeyFacts | None:
    return HOLDER if digest == hashlib.sha256(GATEWAY_KEY.encode()).hexdigest() else None


@asynccontextmanager
async def gateway(
    port: int, *, authenticator: Authenticator | None = None, key: str | None = None, stop_s: int = 1
) -> AsyncIterator[int]:
    """Serve the application before the teacher at `port`; yield its own port."""
    client = HttpClient(Config(connect_timeout_s=2.0))
    config = Config(
        base_url=f"http://127.0.0.1:{port}/v1",
        api_key=Secret(key) if key else None,
        retries=0,
    )
    deps = ApiDependencies(
        serve=lambda _: pytest.fail("no chat"),
        authenticator=authenticator or Authenticator("open"),
        names=("x",),
        **passage_to(create(config, client)),
    )
    sock = socket.create_server(("127.0.0.1", 0))
    server = QuietServer(
        uvicorn.Config(
            create_app(deps),
            http=create_protocol(Connections(EdgeConfig())),  # type: ignore[arg-type]
            ws=create_websockets(deps),  # type: ignore[arg-type]
            log_config=None,
            access_log=False,
            date_header=False,
            server_header=False,
            timeout_graceful_shutdown=stop_s,
        )
    )
    serving = asyncio.create_task(server.serve([sock]))
    try:
        yield sock.getsockname()[1]
    finally:
        server.should_exit = True
        await serving
        sock.close()
        await client.close()


class Teacher:
    """A teacher of websockets; `opened` yields each connection it agreed to, and holds it open."""

    def __init__(self) -> None:
        self.opened: asyncio.Queue[ServerConnection] = asyncio.Queue()
        self.requests: list[Request] = []
        self.refusal: tuple[int, bytes] | None = None
        self.port = 0

    async def hold(self, connection: ServerConnection) -> None:
        """Keep the connection until either side closes it."""
        self.opened.put_nowait(connection)
        await connection.wait_closed()

    def judge(self, connection: ServerConnection, request: Request) -> Response | None:
        """Refuse if `refusal` is set."""
        self.requests.append(request)
        if self.refusal is None:
            return None
        status, body = self.refusal
        refused = connection.respond(status, "")
        refused.headers["x-odd"] = "1"
        refused.body = body
        del refused.headers["content-length"]
        refused.headers["content-length"] = str(len(body))
        return refused


@pytest.fixture
async def teacher() -> AsyncIterator[Teacher]:
    scripted = Teacher()

    def choose(_: ServerConnection, offered: object) -> Subprotocol | None:
        assert isinstance(offered, list | tuple)
        return Subprotocol("realtime") if "realtime" in offered else None

    server: Server
    async with serve(
        scripted.hold,
        "127.0.0.1",
        0,
        max_size=None,
        ping_interval=None,  # only the gateway may tell it that the client has left
        process_request=scripted.judge,
        select_subprotocol=choose,
    ) as server:
        scripted.port = next(iter(server.sockets)).getsockname()[1]
        yield scripted


@asynccontextmanager
async def raw_teacher(handle: Handle) -> AsyncIterator[int]:
    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@asynccontextmanager
async def open_websocket(teacher: Teacher) -> AsyncIterator[tuple[ClientConnection, ServerConnection]]:
    """Yield both ends of a websocket through a gateway in mode `open`."""
    async with gateway(teacher.port) as port, connect(url(port), max_size=None) as client:
        yield client, await teacher.opened.get()


def url(port: int, path: str = PATH) -> str:
    return f"ws://127.0.0.1:{port}{path}"


async def connect_refused(port: int, path: str = PATH, **more: object) -> Response:
    with pytest.raises(InvalidStatus) as caught:
        await connect(url(port, path), **more)  # type: ignore[arg-type]
    return caught.value.response


def error_of(answer: Response) -> dict[str, object]:
    assert answer.headers["content-type"] == "application/json"
    return dict(json.loads(answer.body or b"")["error"])


async def test_text_and_bytes_pass_both_ways_in_their_fragments(teacher: Teacher) -> None:
    async with open_websocket(teacher) as (client, teacher_end):
        await client.send(["caf", "é"])
        await teacher_end.send([b"\x00", b"\xff", b""])

        assert [part async for part in teacher_end.recv_streaming()] == ["caf", "é", ""]
        assert [part async for part in client.recv_streaming()] == [b"\x00", b"\xff", b"", b""]


async def test_a_message_of_33_megabytes_passes_both_ways(teacher: Teacher) -> None:
    message = bytes(range(256)) * 4096 * 33
    async with open_websocket(teacher) as (client, teacher_end):
        _, there = await asyncio.gather(client.send(message), teacher_end.recv())
        _, back = await asyncio.gather(teacher_end.send(message), client.recv())

    assert there == back == message


async def test_path_query_and_headers_arrive_as_sent(teacher: Teacher) -> None:
    path = "/v1/a%2Fb//c?model=x%20y&q=%2F&q"
    async with (
        gateway(teacher.port) as port,
        connect(
            url(port, path),
            additional_headers=[("x-odd", "1"), ("x-odd", "2"), ("x-stepdown-mode", "teacher")],
            user_agent_header="odd/1",
        ),
    ):
        request = teacher.requests[0]

    assert request.path == path
    assert request.headers.get_all("x-odd") == ["1", "2"]
    assert request.headers["user-agent"] == "odd/1"
    assert request.headers["host"] == f"127.0.0.1:{teacher.port}"
    assert "x-stepdown-mode" not in request.headers


async def test_the_teacher_chooses_subprotocol_and_extensions(teacher: Teacher) -> None:
    protocols = [Subprotocol("other"), Subprotocol("realtime")]
    async with (
        gateway(teacher.port) as port,
        connect(url(port), subprotocols=protocols, compression="deflate") as client,
    ):
        await teacher.opened.get()

        assert client.subprotocol == "realtime"
        assert client.response is not None
        assert "permessage-deflate" in client.response.headers["sec-websocket-extensions"]
        assert len(client.response.headers["x-stepdown-request-id"]) == 32


async def test_a_ping_is_answered_by_the_other_end(teacher: Teacher) -> None:
    async with open_websocket(teacher) as (client, teacher_end):
        await asyncio.wait_for(await client.ping(b"there"), PATIENCE_S)
        await asyncio.wait_for(await teacher_end.ping(b"back"), PATIENCE_S)


@pytest.mark.parametrize("who", ["client", "teacher"])
async def test_close_code_and_reason_reach_the_other_end(teacher: Teacher, who: str) -> None:
    async with open_websocket(teacher) as ends:
        one, other = ends if who == "client" else reversed(ends)
        await one.close(4001, "enough")
        await asyncio.wait_for(other.wait_closed(), PATIENCE_S)

        assert (other.close_code, other.close_reason) == (4001, "enough")
        assert (one.close_code, one.close_reason) == (4001, "enough")


async def test_the_gateways_key_is_swapped_for_the_teachers(teacher: Teacher) -> None:
    async with (
        gateway(teacher.port, authenticator=Authenticator("keys", find_key), key="sk-own") as port,
        connect(url(port), additional_headers=BEARER),
    ):
        assert teacher.requests[0].headers.get_all("authorization") == ["Bearer sk-own"]


async def test_a_key_that_a_browser_offers_as_a_subprotocol_goes_no_further(teacher: Teacher) -> None:
    offered = ["realtime", f"openai-insecure-api-key.{GATEWAY_KEY}", "openai-project.p", "openai-beta.v1"]
    async with (
        gateway(teacher.port, authenticator=Authenticator("keys", find_key), key="sk-own") as port,
        connect(url(port), subprotocols=[Subprotocol(one) for one in offered]) as client,
    ):
        headers = teacher.requests[0].headers

        assert client.subprotocol == "realtime"
        assert headers["sec-websocket-protocol"] == "realtime, openai-beta.v1"
        assert headers["authorization"] == "Bearer sk-own"


async def test_a_teachers_key_that_a_browser_offers_passes_unchanged(teacher: Teacher) -> None:
    offered = ["realtime", "openai-insecure-api-key.sk-theirs"]
    async with (
        gateway(teacher.port, authenticator=Authenticator("forward")) as port,
        connect(url(port), subprotocols=[Subprotocol(one) for one in offered]),
    ):
        headers = teacher.requests[0].headers

    assert [one.strip() for one in headers["sec-websocket-protocol"].split(",")] == offered
    assert "authorization" not in headers


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer sk-wrong"}])
async def test_a_stranger_is_refused_and_the_teacher_not_asked(
    teacher: Teacher, headers: dict[str, str]
) -> None:
    async with gateway(teacher.port, authenticator=Authenticator("keys", find_key), key="sk-own") as port:
        answer = await connect_refused(port, additional_headers=headers)

    assert (answer.status_code, error_of(answer)["code"]) == (401, "invalid_api_key")
    assert teacher.requests == []


@pytest.mark.parametrize("status", [401, 403, 404, 426, 429, 503])
async def test_a_refusal_of_the_teacher_reaches_the_client_as_it_is(teacher: Teacher, status: int) -> None:
    teacher.refusal = (status, b'{"error": {"message":"no",  "x":1}}')
    async with gateway(teacher.port, authenticator=Authenticator("forward")) as port:
        answer = await connect_refused(port, additional_headers=BEARER)

    assert (answer.status_code, answer.body) == teacher.refusal
    assert answer.headers["x-odd"] == "1"


async def test_the_gateways_own_key_refused_is_a_502(teacher: Teacher) -> None:
    teacher.refusal = (401, b"{}")
    async with gateway(teacher.port, key="sk-own") as port:
        answer = await connect_refused(port)

    assert (answer.status_code, error_of(answer)["code"]) == (502, "teacher_credential_rejected")


async def test_a_dead_teacher_is_a_502_before_anything_is_agreed_to() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        dead = closed.getsockname()[1]
    async with gateway(dead) as port:
        answer = await connect_refused(port)

    assert (answer.status_code, error_of(answer)["code"]) == (502, "teacher_unreachable")
    # Asked once only (`retries=0`): the client's own retries are what it would have without us.
    assert "x-should-retry" not in answer.headers


@pytest.mark.parametrize("path", ["/healthz", "/v2/realtime", "/v1/../admin"])
async def test_no_websocket_is_opened_on_another_path(teacher: Teacher, path: str) -> None:
    async with gateway(teacher.port) as port:
        answer = await connect_refused(port, path)

    assert (answer.status_code, error_of(answer)["code"]) == (404, "unknown_url")
    assert teacher.requests == []


async def test_a_foreign_page_is_admitted_only_with_a_key(teacher: Teacher) -> None:
    keys = Authenticator("keys", find_key)
    foreign = "https://evil.example"
    async with gateway(teacher.port) as port:
        answer = await connect_refused(port, origin=foreign)
        async with connect(url(port), origin="http://localhost:3000"):  # type: ignore[arg-type]
            pass
    async with (
        gateway(teacher.port, authenticator=keys, key="sk-own") as port,
        connect(url(port), origin=foreign, additional_headers=BEARER),  # type: ignore[arg-type]
    ):
        pass

    assert (answer.status_code, error_of(answer)["code"]) == (403, "origin_not_allowed")


async def test_a_client_that_vanishes_ends_the_teachers_websocket(teacher: Teacher) -> None:
    async with open_websocket(teacher) as (client, teacher_end):
        client.transport.abort()

        async with asyncio.timeout(PATIENCE_S):
            await teacher_end.wait_closed()


async def test_a_teacher_that_vanishes_ends_the_clients_websocket(teacher: Teacher) -> None:
    async with open_websocket(teacher) as (client, teacher_end):
        teacher_end.transport.abort()

        async with asyncio.timeout(PATIENCE_S):
            with pytest.raises(ConnectionClosed):
                await client.recv()


async def test_a_client_that_leaves_before_the_answer_ends_the_teachers_handshake() -> None:
    arrived, left = asyncio.Event(), asyncio.Event()

    async def never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        arrived.set()
        with contextlib.suppress(ConnectionError):
            await reader.read()
        left.set()
        writer.close()

    async with raw_teacher(never_answer) as dark, gateway(dark) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HANDSHAKE)
        await arrived.wait()
        writer.close()

        async with asyncio.timeout(PATIENCE_S):
            await left.wait()


async def test_bytes_behind_the_teachers_consent_arrive_byte_for_byte() -> None:
    content = bytes(range(256)) * 8

    async def consent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(CONSENT + content)
        writer.write(await reader.readexactly(len(content)))
        writer.close()

    async with raw_teacher(consent) as eager, gateway(eager) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HANDSHAKE)
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(content[::-1])
        received = await reader.read()
        writer.close()

    assert head.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    assert received[: len(content)] == content
    assert received[len(content) :] == content[::-1]


async def test_a_client_that_sends_before_the_answer_is_cut_off() -> None:
    arrived = asyncio.Event()

    async def never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        arrived.set()
        assert await reader.read() == b""
        writer.close()

    async with raw_teacher(never_answer) as dark, gateway(dark) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HANDSHAKE)
        await arrived.wait()
        writer.write(b"too early")

        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()


async def test_a_teacher_that_sends_too_much_waits_for_a_client_that_does_not_read() -> None:
    """Without back-pressure the gateway would hold all of it in memory."""
    plenty, stuck = 64 << 20, asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(CONSENT)
        sent = 0
        while sent < plenty:
            writer.write(bytes(1 << 20))
            sent += 1 << 20
            try:
                async with asyncio.timeout(0.5):
                    await writer.drain()
            except TimeoutError:
                stuck.set()
                await writer.drain()
        writer.close()

    async with raw_teacher(talk) as talker, gateway(talker) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 16)
        writer.write(HANDSHAKE)
        await reader.readuntil(b"\r\n\r\n")
        await stuck.wait()

        size = 0
        while piece := await reader.read(1 << 20):
            size += len(piece)
        writer.close()

    assert size == plenty


async def test_a_server_that_stops_does_not_wait_for_ever(teacher: Teacher) -> None:
    async with contextlib.AsyncExitStack() as stack:
        async with gateway(teacher.port) as port:
            client = await stack.enter_async_context(connect(url(port)))
            teacher_end = await teacher.opened.get()

        async with asyncio.timeout(PATIENCE_S):
            await teacher_end.wait_closed()
            await client.wait_closed()
