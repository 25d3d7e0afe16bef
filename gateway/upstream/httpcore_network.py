"""The sockets below httpcore: dead peers are found, and a connection can leave HTTP for a tunnel."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterable
from typing import Any, cast

import httpcore2
from aiohappyeyeballs import start_connection

from gateway.errors import UpstreamError
from gateway.upstream.connect import NEXT_ADDRESS_S, detect_dead_peer
from gateway.upstream.response import HELD_BYTES

STREAM = "stepdown.stream"
"""The name under which a stream gives itself away, whatever httpcore wraps around it."""
_FINAL_ANSWERS = tuple(b"HTTP/1.%d %d" % (minor, kind) for minor in (0, 1) for kind in range(2, 6))
"""The beginnings of answers that are no interim ones."""


class NetworkStream(asyncio.Protocol, httpcore2.AsyncNetworkStream):
    """One connection as httpcore reads and writes it."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.transport: asyncio.Transport
        self.has_answered = True
        """Whether a byte has come since the last one was written."""
        self.is_detached = False
        """Whether another protocol reads it from now on."""
        self._idle: asyncio.TimerHandle | None = None
        self._data = bytearray()
        self._is_held = False
        self._has_ended = False
        self._fault: Exception | None = None
        self._reader: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return what has come; nothing at the end."""
        try:
            async with asyncio.timeout(timeout):
                while not (self._data or self._has_ended or self.is_detached):
                    self._reader = self._loop.create_future()
                    await self._reader
        except TimeoutError as exc:
            raise httpcore2.ReadTimeout("no more came in time") from exc
        if not self._data and self._fault:
            raise httpcore2.ReadError(str(self._fault)) from self._fault
        data = bytes(self._data[:max_bytes])
        del self._data[:max_bytes]
        if self._is_held and len(self._data) <= HELD_BYTES and not self._has_ended:
            self._is_held = False
            self.transport.resume_reading()
        self.has_answered = self.has_answered or bool(data)
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send `buffer`; return once there is room for more."""
        if self._idle:
            self._idle.cancel()
            self._idle = None
        if (self._has_ended and self._fault) or self.transport.is_closing():
            raise httpcore2.WriteError(str(self._fault or "the connection is closed"))
        if not self.has_answered and self._data.startswith(_FINAL_ANSWERS):
            # It is answered in the middle of its body: httpcore reads the answer then.
            raise httpcore2.WriteError("the teacher has answered already")
        self.has_answered = False
        self.transport.write(buffer)
        if self._room is None:
            return
        try:
            async with asyncio.timeout(timeout):
                await asyncio.shield(self._room)
        except TimeoutError as exc:
            raise httpcore2.WriteTimeout("no more was taken in time") from exc

    def rest(self, seconds: float) -> None:
        """Wait for the next call; whatever comes before it, or no call in `seconds`, ends the connection."""
        if self._data or self._has_ended or not seconds:
            self.transport.abort()
        else:
            self._idle = self._loop.call_later(seconds, self.transport.abort)

    async def aclose(self) -> None:
        """Break the connection off, unless another protocol has it."""
        if not self.is_detached:
            self.transport.abort()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> NetworkStream:
        """Go on over TLS."""
        try:
            async with asyncio.timeout(timeout):
                secured = await self._loop.start_tls(
                    self.transport, self, ssl_context, server_hostname=server_hostname
                )
        except TimeoutError as exc:
            raise httpcore2.ConnectTimeout("TLS took too long") from exc
        except (OSError, ValueError) as exc:
            raise httpcore2.ConnectError(str(exc)) from exc
        assert secured is not None
        self.transport = secured
        return self

    def get_extra_info(self, info: str) -> Any:
        """Return what httpcore asks of a stream, or the stream itself."""
        if info == STREAM:
            return self
        if info == "is_readable":
            # An idle connection over which something comes, an end or a word, is not to be used again.
            return bool(self._data) or self._has_ended or self.transport.is_closing()
        return self.transport.get_extra_info(info)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self._idle:
            self.transport.abort()
        self._data += data
        if len(self._data) > HELD_BYTES and not self._is_held:
            self._is_held = True
            self.transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        """See asyncio.Protocol."""
        self._has_ended = True
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        if self._idle:
            self._idle.cancel()
        self._fault = exc
        self._has_ended = True
        self._wake()
        self.resume_writing()

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        self._room = self._loop.create_future()

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        room, self._room = self._room, None
        if room and not room.done():
            room.set_result(None)

    def _wake(self) -> None:
        if self._reader and not self._reader.done():
            self._reader.set_result(None)


class Network(httpcore2.AsyncNetworkBackend):
    """Opens connections as our own client does."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> NetworkStream:
        """Return a connection over TCP."""
        try:
            async with asyncio.timeout(timeout):
                return await _connect(host, port)
        except TimeoutError as exc:
            raise httpcore2.ConnectTimeout("the connection took too long") from exc
        except OSError as exc:
            raise httpcore2.ConnectError(str(exc)) from exc

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


async def _connect(host: str, port: int) -> NetworkStream:
    loop = asyncio.get_running_loop()
    addresses = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    sock = await start_connection(addresses, happy_eyeballs_delay=NEXT_ADDRESS_S)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        detect_dead_peer(sock)
        _, stream = await loop.create_connection(NetworkStream, sock=sock)
    except BaseException:
        sock.close()
        raise
    return stream


class SwitchedLink:
    """See upstream.base.Link."""

    def __init__(self, stream: NetworkStream, surplus: bytes, response: httpcore2.Response) -> None:
        self._stream = stream
        self._surplus = surplus
        self._response = response

    def detach(self, heir: asyncio.Protocol) -> asyncio.Transport:
        """See upstream.base.Link."""
        transport, loop = self._stream.transport, asyncio.get_running_loop()
        if transport.is_closing():
            raise UpstreamError("the teacher closed the connection")
        transport.set_protocol(heir)
        loop.call_soon(self._begin, heir)
        # Of the pool's it is no more; the stream keeps the connection open.
        self._leaving = loop.create_task(self._response.aclose())
        return transport

    def _begin(self, heir: asyncio.Protocol) -> None:
        if self._surplus:
            heir.data_received(self._surplus)
        if not self._stream.transport.is_closing():
            self._stream.transport.resume_reading()


async def switch_protocol(
    wrapped: httpcore2.AsyncNetworkStream, stream: NetworkStream, response: httpcore2.Response
) -> SwitchedLink:
    """Return the connection outside of HTTP, with what came behind the head."""
    stream.is_detached = True
    stream.transport.pause_reading()
    surplus = b""
    while piece := await wrapped.read(65_536):
        surplus += piece
    return SwitchedLink(stream, surplus, response)
