"""Teachers to call: the simulated one, and one which answers raw bytes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, Literal

import pytest

from gateway.core import Body
from gateway.upstream.base import Config, Transport
from gateway.upstream.transport import create_transport
from tests.support.teacher import running, teacher

__all__ = ["client", "raw", "running", "teacher"]

Engine = Literal["own", "httpcore"]
Connect = Callable[..., Transport]

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class RawTeacher:
    """Answers each request with the next of `script` (default OK); None closes the connection.

    `asked` holds every request as its raw bytes.
    """

    def __init__(self) -> None:
        self.script: list[bytes | None] = []
        self.asked: list[bytes] = []
        self.connections = 0
        self.arrived = asyncio.Event()
        """Set when a whole request is here."""
        self.left = asyncio.Event()
        """Set when a client closes its connection."""
        self.origin = ""
        self.writers: list[asyncio.StreamWriter] = []

    def hang_up(self) -> None:
        """Close every connection."""
        for writer in self.writers:
            writer.close()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Speak with one client until either side ends it."""
        self.connections += 1
        self.writers.append(writer)
        try:
            while True:
                self.asked.append(await _request(reader))
                self.arrived.set()
                answer = self.script.pop(0) if self.script else OK
                if answer is None:
                    return
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            self.left.set()
        finally:
            writer.close()


async def _request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    if b"transfer-encoding: chunked" in head.lower():
        return head + await reader.readuntil(b"0\r\n\r\n")
    lines = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return head + await reader.readexactly(sum(int(line.partition(b":")[2]) for line in lines))


async def read(body: Body) -> bytes:
    """Return every byte of `body`."""
    return b"".join([chunk async for chunk in body])


@pytest.fixture
async def raw() -> AsyncIterator[RawTeacher]:
    teacher = RawTeacher()
    server = await asyncio.start_server(teacher.serve, "127.0.0.1", 0)
    teacher.origin = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield teacher
    server.close()


@pytest.fixture
def engine() -> Engine:
    """The engine of `client`; the suites that both have to pass run with either."""
    return "own"


@pytest.fixture
async def connect(engine: Engine) -> AsyncIterator[Connect]:
    """Make clients of this engine, with limits as given."""
    clients: list[Transport] = []

    def create(**limits: Any) -> Transport:
        clients.append(create_transport(Config(transport=engine, **limits)))
        return clients[-1]

    yield create
    for client in clients:
        await client.close()


@pytest.fixture
def client(connect: Connect) -> Transport:
    # No test of this client waits for one of its limits.
    return connect(connect_timeout_s=1_000, first_byte_timeout_s=1_000, idle_timeout_s=1_000)
