"""A whole site on a real socket, with a flow and a teacher which do what a test tells them."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

import msgspec
import uvicorn

from gateway.api.app import create_app
from gateway.api.auth import Authenticator
from gateway.api.dependencies import ApiDependencies
from gateway.core import Answer, Header, Request
from gateway.upstream.base import Call, Reply

CHAT = "/v1/chat/completions"
PATIENCE_S = 5.0
JSON: Header = (b"content-type", b"application/json")


class Signals:
    """What happened inside the server's thread, to be waited for from the test's."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.closed = threading.Event()
        self.cancelled = threading.Event()


class Pieces:
    """A body which gives `content`, perhaps waits, and says when it was closed."""

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


class Flow:
    """Stands for cascade.serve: records requests, answers as told."""

    def __init__(self) -> None:
        self.signals = Signals()
        self.requests: list[Request] = []
        self.answer: Callable[[Request], Awaitable[Answer]] = self.plain

    async def __call__(self, request: Request) -> Answer:
        self.requests.append(request)
        try:
            return await self.answer(request)
        except BaseException:
            self.signals.cancelled.set()
            raise

    async def plain(self, request: Request) -> Answer:
        content = json.dumps({"echo": request.text}).encode()
        return self.with_body(content, headers=(JSON, (b"content-length", str(len(content)).encode())))

    def with_body(
        self,
        *content: bytes,
        status: int = 200,
        headers: tuple[Header, ...] = (JSON,),
        labels: tuple[Header, ...] = (),
        then: Awaitable[object] | None = None,
    ) -> Answer:
        return Answer(status=status, headers=headers, body=Pieces(self.signals, content, then), labels=labels)


class Teacher:
    """Records calls with their whole body, replies as told."""

    def __init__(self) -> None:
        self.signals = Signals()
        self.calls: list[Call] = []
        self.bodies: list[bytes] = []
        self.reply: Callable[[Call], Awaitable[Reply]] = self.plain

    async def ask(self, call: Call) -> Reply:
        self.calls.append(call)
        try:
            return await self.reply(call)
        except BaseException:
            self.signals.cancelled.set()
            raise

    async def plain(self, call: Call) -> Reply:
        self.bodies.append(await self.read(call))
        return self.with_body(b"from the teacher")

    async def read(self, call: Call) -> bytes:
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
        return Reply(status=status, headers=headers, body=Pieces(self.signals, content, then))

    async def close(self) -> None:
        return


class Got(msgspec.Struct, frozen=True):
    """An HTTP answer as it came."""

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
        """The error of OpenAI's envelope, whose four fields must be there."""
        assert self.header("content-type") == "application/json"
        envelope = self.json
        assert set(envelope) == {"error"}
        error: dict[str, Any] = envelope["error"]
        assert set(error) == {"message", "type", "param", "code"}
        return error


class House:
    """A running site and what stands behind it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.renew()

    def renew(self) -> None:
        """Forget what was told and recorded; the server stays."""
        self.flow = Flow()
        self.teacher = Teacher()

    async def serve(self, request: Request) -> Answer:
        return await self.flow(request)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Got:
        connection = self.connect()
        try:
            return ask_on(connection, method, path, body, headers)
        finally:
            connection.close()

    def chat(self, headers: dict[str, str] | None = None, **fields: object) -> Got:
        return self.ask("POST", CHAT, chat_body(**fields), headers)

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)

    def raw(self, head: bytes) -> socket.socket:
        """Open a socket and send `head` on it."""
        plug = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S)
        plug.sendall(head)
        return plug


class _BehindTheHouse:
    """The teacher of the moment, for a server which outlives it."""

    def __init__(self, house: House) -> None:
        self._house = house

    async def ask(self, call: Call) -> Reply:
        return await self._house.teacher.ask(call)

    async def close(self) -> None:
        return


def ask_on(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> Got:
    connection.request(method, path, body, headers or {})
    response = connection.getresponse()
    return Got(response.status, response.getheaders(), response.read())


def chat_body(**fields: object) -> bytes:
    return json.dumps(
        {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}], **fields}
    ).encode()


def chat_head(size: int, extra: bytes = b"") -> bytes:
    return b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n%b\r\n" % (size, extra)


@contextmanager
def open_house(authenticator: Authenticator | None = None, **deps: Any) -> Iterator[House]:
    """Serve a site in a thread, on a free port, until the block ends."""
    # Listening before the thread starts: whoever connects early waits in the backlog.
    plug = socket.create_server(("127.0.0.1", 0), backlog=64)
    house = House(plug.getsockname()[1])
    site = create_app(
        ApiDependencies(
            serve=house.serve,
            teacher=_BehindTheHouse(house),
            authenticator=authenticator or Authenticator("open"),
            **deps,
        )
    )
    config = uvicorn.Config(
        site,
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        ws="none",
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [plug]})
    thread.start()
    try:
        yield house
    finally:
        server.should_exit = True
        thread.join(PATIENCE_S)
        plug.close()
    assert not thread.is_alive()
