"""A teacher's reply on its way in: its head, then its body as it comes."""

from __future__ import annotations

import asyncio
import math
from typing import Protocol, Self

import httptools

from gateway.core import Header
from gateway.errors import UpstreamError, UpstreamTimeoutError

# Also of what the parser holds without giving it on: an unfinished header, a trailer, a chunk's extension.
LONGEST_HEAD_BYTES = 256 * 1024
MOST_HEADERS = 1_000
# How much may wait for a slow client before the teacher is made to wait.
HELD_BYTES = 256 * 1024
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})


class ResponseOwner(Protocol):
    """The connection over which a reply comes."""

    def expect_within(self, seconds: float) -> None:
        """Fail the reply unless this is called again within `seconds`."""

    def hold_back(self, *, is_held: bool) -> None:
        """Stop reading, or go on."""

    def finished(self, *, keeps_open: bool) -> None:
        """Note that the reply is whole."""

    def close(self) -> None:
        """Break off."""


class Response:
    """One reply, and its body as core.Body: bytes as received, never decompressed.

    The `on_...` methods are called by httptools' parser.
    """

    def __init__(self, line: ResponseOwner, *, is_head: bool, may_switch: bool) -> None:
        self.status = 0
        self.headers: list[Header] = []
        """Names in lower case; those of one hop are still there."""
        self.has_head = False
        self.idle_s = math.inf
        """How long the next bytes of the body may take."""
        self.has_switched = False
        """Whether the connection left HTTP with a 101."""
        self.surplus = b""
        """What came behind such a 101."""
        self._line = line
        self._is_head = is_head
        self._may_switch = may_switch
        self._parser = httptools.HttpResponseParser(self)
        self._head_bytes = 0
        self._unparsed_bytes = 0
        self._is_framed = self._is_chunked = self._keeps_open = self._is_announced = False
        self._pieces: list[bytes] = []
        self._size = 0
        self._is_held = self._is_whole = self._is_closed = False
        self._fault: UpstreamError | None = None
        self._waiter: asyncio.Future[None] | None = None

    @property
    def has_begun(self) -> bool:
        """Whether one byte of the reply is here."""
        return self.has_head or self._unparsed_bytes > 0 or self._is_announced

    async def head(self, wait_s: float) -> None:
        """Return once the head is there. Raises UpstreamError."""
        while not self.has_head:
            await self._wait(wait_s)
        if self._fault and not self._pieces:
            # What came with the head was no body: nothing of this reply has reached anybody.
            raise self._fault

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        while not self._pieces:
            if self._is_whole or self._is_closed:
                raise StopAsyncIteration
            try:
                await self._wait(self.idle_s)
            except asyncio.CancelledError:
                self._line.close()
                raise
        pieces, self._pieces = self._pieces, []
        self._size = 0
        if self._is_held:
            self._is_held = False
            self._line.hold_back(is_held=False)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def aclose(self) -> None:
        """Break the connection off unless the reply is whole."""
        self._is_closed = True
        self._pieces.clear()
        if not self._is_whole:
            self._line.close()

    def feed(self, data: bytes) -> UpstreamError | None:
        """Take bytes from the connection; return what is wrong with them."""
        if self.has_switched:
            self.surplus += data
            return None
        self._unparsed_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as stop:
            # A 101, which has failed already unless it was asked for.
            self.surplus = data[stop.args[0] :]
            self._line.hold_back(is_held=True)
            return None
        except httptools.HttpParserError as fault:
            return UpstreamError(f"the teacher's answer is not HTTP: {fault}")
        if self._unparsed_bytes > LONGEST_HEAD_BYTES and not self._is_whole:
            return UpstreamError("the teacher's answer has a header that is too long")
        return None

    def ended(self) -> None:
        """Note that no more will come: that ends a body that says nothing of its length."""
        if self.has_head and not self._is_framed:
            self._end(keeps_open=False)

    def fail(self, fault: UpstreamError) -> None:
        """End the reply with `fault`, unless it is whole."""
        if self._is_whole:
            return
        is_cut = self.has_head and not isinstance(fault, UpstreamTimeoutError)
        self._fault = UpstreamError("the teacher broke off in the middle of its answer") if is_cut else fault
        self._wake()

    def on_message_begin(self) -> None:
        """Refuse what follows a whole reply without having been asked for."""
        if self._is_whole:
            self._line.close()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take one header; trailers, which come after the head, are left out."""
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > LONGEST_HEAD_BYTES or len(self.headers) >= MOST_HEADERS:
            self.fail(UpstreamError("the teacher's answer has too many headers"))
            self._line.close()
        if self.has_head or self._fault:
            return
        name = name.lower()
        if name in _FRAMING:
            self._note_framing(name, value.strip().lower())
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Note the end of the head, unless it is an interim one (100, 103)."""
        status = self._parser.get_status_code()
        self._unparsed_bytes = 0
        if self._is_whole or self._fault:
            return
        self.has_switched = status == 101 and self._may_switch
        if status == 101 and not self._may_switch:
            self.fail(UpstreamError("the teacher switched protocols unasked"))
            self._line.close()
        elif 100 <= status < 200 and not self.has_switched:
            self.headers.clear()
            self._is_announced = True
        elif not 100 <= status < 600:
            # RFC 9110 section 15: no such status exists, and servers cannot write it.
            self.fail(UpstreamError(f"the teacher answered with status {status}"))
            self._line.close()
        else:
            self._begin(status)

    def _note_framing(self, name: bytes, value: bytes) -> None:
        """Note how the body ends; we offer no transfer coding (TE), and undo none (RFC 9112 section 7)."""
        if name == b"content-length":
            self._is_framed = True
            return
        if value == b"identity":
            return
        if value != b"chunked" or self._is_chunked:
            self.fail(UpstreamError("the teacher's answer has a transfer coding that was not asked for"))
            self._line.close()
        self._is_framed = self._is_chunked = True

    def _begin(self, status: int) -> None:
        self.status = status
        self.has_head = True
        self._keeps_open = self._parser.should_keep_alive()
        if self._is_head:
            # The parser, which does not know, waits for the body that a GET would get.
            self._end(keeps_open=(b"connection", b"close") not in self.headers)
        self._wake()

    def on_body(self, data: bytes) -> None:
        """Take a piece of the body."""
        self._unparsed_bytes = 0
        if self._is_whole:
            self._line.close()
        if self._is_whole or self._is_closed:
            return
        self._pieces.append(data)
        self._size += len(data)
        if self._size > HELD_BYTES and not self._is_held:
            self._is_held = True
            self._line.hold_back(is_held=True)
        self._wake()

    def on_message_complete(self) -> None:
        """Note the end of the reply."""
        if self.has_head and not self.has_switched:
            self._end(keeps_open=self._keeps_open)

    def _end(self, *, keeps_open: bool) -> None:
        if self._is_whole:
            return
        self._is_whole = True
        if self._is_held:
            self._is_held = False
            self._line.hold_back(is_held=False)
        self._line.finished(keeps_open=keeps_open)
        self._wake()

    def _wake(self) -> None:
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)

    async def _wait(self, seconds: float) -> None:
        if self._fault:
            raise self._fault
        self._line.expect_within(seconds)
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
            # Of a whole reply the connection is free, and perhaps the next call's already.
            if not self._is_whole:
                self._line.expect_within(math.inf)
