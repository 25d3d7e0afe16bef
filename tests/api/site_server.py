"""The public application on a real socket, with a scripted flow and a scripted teacher behind it."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

import msgspec
import uvicorn

from gateway.api.app import create_app
from gateway.api.auth import Authenticator
from gateway.api.dependencies import ApiDependencies
from gateway.api.http.connections import Connections
from gateway.api.http.edge import Config
from gateway.api.http.protocol import create_protocol
from gateway.api.shedding import Shedding
from gateway.core import Answer, Header, Outcome, Request
from gateway.policy.ownership import OwnerStore
from gateway.policy.schema import Policy
from gateway.upstream.base import Call, Reply
from tests.support.passage import EVERYTHING, passage_to
from tests.support.waiting import PATIENCE_S

CHAT = "/v1/chat/completions"
JSON: Header = (b"content-type", b"application/json")


class Signals:
    """Events inside the server's thread that a test may wait for."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.closed = threading.Event()
        self.cancelled = threading.Event()


class ScriptedBody:
    """A body that yields `content`, perhaps waits, and signals when it is closed."""

    def __init__(self, signals: Signals, content: tuple[bytes, ...], then: Awaitable[object] | None) -> None:
        self._signals = signals
        self._content = iter(content)
        self._then = then

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            piece = next(self._content)
        except StopIteration:
            if self._then is not None:
                await self._then
            raise StopAsyncIteration from None
        self._signals.began.set()
        return piece

    async def aclose(self) -> None:
        self._signals.closed.set()


class ScriptedFlow:
    """A stand-in for cascade.serve: records requests, answers as a test sets `answer`."""

    def __init__(self) -> None:
        self.signals = Signals()
        self.requests: list[Request] = []
        self.answer: Callable[[Request], Awaitable[Answer]] = self.default_answer

    async def __call__(self, request: Request) -> Answer:
        self.requests.append(request)
        try:
            return await self.answer(request)
        except BaseException:
            self.signals.cancelled.set()
            raise

    async def default_answer(self, request: Request) -> Answer:
        content = json.dumps({"echo": request.text}).encode()
        return self.with_body(content, headers=(JSON, (b"content-length", str(len(content)).encode())))

    def with_body(
        self,
        *content: bytes,
        status: int = 200,
        headers: tuple[Header, ...] = (JSON,),
        labels: tuple[Header, ...] = (),
        details: tuple[Header, ...] = (),
        then: Awaitable[object] | None = None,
    ) -> Answer:
        body = ScriptedBody(self.signals, content, then)
        return Answer(status=status, headers=headers, body=body, labels=labels, details=labels + details)


class ScriptedTeacher:
    """Records calls with their whole body, replies as a test sets `reply`."""

    def __init__(self) -> None:
        self.signals = Signals()
        self.calls: list[Call] = []
        self.bodies: list[bytes] = []
        self.reply: Callable[[Call], Awaitable[Reply]] = self.default_reply

    async def ask(self, call: Call) -> Reply:
        self.calls.append(call)
        try:
            return await self.reply(call)
        except BaseException:
            self.signals.cancelled.set()
            raise

    async def default_reply(self, call: Call) -> Reply:
        self.bodies.append(await self.read_body(call))
        return self.with_body(b"from the teacher")

    async def read_body(self, call: Call) -> bytes:
        if isinstance(call.body, bytes):
            return call.body
        return b"".join([piece async for piece in call.body])

    def with_body(
        self,
        *content: bytes,
        status: int = 200,
        headers: tuple[Header, ...] = (),
        then: Awaitable[object] | None = None,
    ) -> Reply:
        return Reply(status=status, headers=headers, body=ScriptedBody(self.signals, content, then))

    async def close(self) -> None:
        return


class HttpAnswer(msgspec.Struct, frozen=True):
    """An HTTP answer as it arrived."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name), None)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """OpenAI's error object; all four fields must be there."""
        assert self.header("content-type") == "application/json"
        content = self.json
        assert set(content) == {"error"}
        error: dict[str, Any] = content["error"]
        assert set(error) == {"message", "type", "param", "code"}
        return error


class SiteServer:
    """A running application, with its scripted flow and teacher."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.outcomes: list[Outcome] = []
        self.reset()

    def reset(self) -> None:
        """Forget scripts and records; the server stays."""
        self.flow = ScriptedFlow()
        self.teacher = ScriptedTeacher()
        self.outcomes.clear()

    async def serve(self, request: Request) -> Answer:
        return await self.flow(request)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> HttpAnswer:
        connection = self.connect()
        try:
            return ask_on(connection, method, path, body, headers)
        finally:
            connection.close()

    def chat(self, headers: dict[str, str] | None = None, **fields: object) -> HttpAnswer:
        return self.ask("POST", CHAT, chat_body(**fields), headers)

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)

    def open_socket(self, head: bytes) -> socket.socket:
        """Return a new socket that has sent `head`."""
        sock = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S)
        sock.sendall(head)
        return sock


class _CurrentTeacher:
    """The teacher that the site has at the moment: the server outlives each."""

    def __init__(self, site: SiteServer) -> None:
        self._site = site

    async def ask(self, call: Call) -> Reply:
        return await self._site.teacher.ask(call)

    async def close(self) -> None:
        return


def ask_on(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> HttpAnswer:
    connection.request(method, path, body, headers or {})
    response = connection.getresponse()
    return HttpAnswer(response.status, response.getheaders(), response.read())


def chat_body(**fields: object) -> bytes:
    return json.dumps(
        {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}], **fields}
    ).encode()


def chat_head(size: int, extra: bytes = b"") -> bytes:
    return b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n%b\r\n" % (size, extra)


@contextmanager
def serve_site(
    authenticator: Authenticator | None = None,
    policies: Sequence[Policy] = EVERYTHING,
    *,
    has_own_key: bool = False,
    owners: OwnerStore | None = None,
    edge: Config | None = None,
    **deps: Any,
) -> Iterator[SiteServer]:
    """Serve the application in a thread, on a free port, until the block ends."""
    # Listening before the thread starts: an early connection waits in the backlog.
    sock = socket.create_server(("127.0.0.1", 0), backlog=64)
    # Raw requests in the tests name this host.
    deps.setdefault("names", ("x",))
    site = SiteServer(sock.getsockname()[1])
    dependencies = ApiDependencies(
        serve=site.serve,
        authenticator=authenticator or Authenticator("open"),
        **passage_to(_CurrentTeacher(site), policies, site.outcomes, has_own_key=has_own_key, owners=owners),
        **deps,
    )
    connections = Connections(edge or Config(), pressure=dependencies.in_flight, shed=Shedding(dependencies))
    config = uvicorn.Config(
        create_app(dependencies),
        http=create_protocol(connections),  # type: ignore[arg-type]
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        ws="none",
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
    thread.start()
    try:
        yield site
    finally:
        server.should_exit = True
        thread.join(PATIENCE_S)
        sock.close()
    assert not thread.is_alive()
