"""One connection to a teacher: a call, its reply, the next call."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from typing import cast

from gateway.errors import UpstreamError, UpstreamTimeoutError
from gateway.upstream.response import Response

# Whole bodies up to this size are written with their head, at once; longer ones piece by piece,
# so that a teacher who stops reading is noticed.
WRITTEN_AT_ONCE_BYTES = 256 * 1024


class Connection(asyncio.Protocol):
    """HTTP/1.1 over one transport; one call at a time.

    `release` gets the connection back whenever a reply has arrived whole and the teacher keeps it open.
    """

    def __init__(self, release: Callable[[Connection], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._release = release
        self.was_lost_unanswered = False
        """Whether the teacher closed it in the middle of a call, before one byte of the reply."""
        self._response: Response | None = None
        self._fault: UpstreamError | None = None
        self._sending: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._deadline = self._timer_at = math.inf
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_open(self) -> bool:
        """Whether a call may be sent."""
        return self._fault is None

    async def ask(
        self,
        head: bytes,
        body: bytes | AsyncIterator[bytes],
        *,
        is_head: bool,
        is_chunked: bool,
        may_switch: bool,
        wait_s: float,
    ) -> Response:
        """Send one request and return its reply once the reply's head is there.

        `wait_s` bounds the silence after the last byte that the teacher took. Cancelling it closes the
        connection. Raises UpstreamError, and whatever `body` raises.
        """
        response = self._response = Response(self, is_head=is_head, may_switch=may_switch)
        try:
            if isinstance(body, bytes) and len(body) <= WRITTEN_AT_ONCE_BYTES:
                self._transport.write(head + body)
                await response.head(wait_s)
            else:
                self._transport.write(head)
                await self._upload(body, response, is_chunked=is_chunked, wait_s=wait_s)
        except BaseException:
            self.close()
            raise
        return response

    def detach(self, heir: asyncio.Protocol) -> asyncio.Transport:
        """See upstream.base.Link."""
        if self._fault:
            raise self._fault
        assert self._response is not None
        self._fault = UpstreamError("the connection left HTTP")
        if self._timer:
            self._timer.cancel()
        self._transport.set_protocol(heir)
        self._loop.call_soon(self._begin, heir, self._response.surplus)
        return self._transport

    def _begin(self, heir: asyncio.Protocol, surplus: bytes) -> None:
        if surplus:
            heir.data_received(surplus)
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def expect_within(self, seconds: float) -> None:
        """Fail the call unless this is called again within `seconds`; infinity for no limit.

        One timer serves many calls: it is moved only when it would ring too late.
        """
        self._deadline = self._loop.time() + seconds
        if self._deadline < self._timer_at:
            self._set_timer()

    def hold_back(self, *, is_held: bool) -> None:
        """Stop reading from the teacher, or go on."""
        if not self.is_open:
            return
        if is_held:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def finished(self, *, keeps_open: bool) -> None:
        """Note that the reply is whole; the connection is free if the request was sent whole, too."""
        self._response = None
        self._deadline = math.inf
        if not keeps_open or self._sending:
            self.close()
        elif self.is_open:
            self._release(self)

    def close(self) -> None:
        """Break the connection off at once, whatever it does."""
        self._fail(UpstreamError("the connection was closed"))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        # uvloop's transports are none of asyncio's by class.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self._response is None:
            # There is no call: whatever this answers, it must not become the answer of the next call.
            self.close()
        elif fault := self._response.feed(data):
            self._fail(fault)

    def eof_received(self) -> None:
        """See asyncio.Protocol."""
        if self._response:
            self._response.ended()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        if self.is_open and self._response is not None:
            self.was_lost_unanswered = not self._response.has_begun
        self._fail(UpstreamError(f"the teacher closed the connection: {exc or 'no more came'}"))

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        self._room = self._loop.create_future()

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        room, self._room = self._room, None
        if room and not room.done():
            room.set_result(None)

    async def _upload(
        self, body: bytes | AsyncIterator[bytes], response: Response, *, is_chunked: bool, wait_s: float
    ) -> None:
        """Send `body` beside waiting for the head: a teacher may refuse what it has not read yet."""
        pieces = _pieces(body) if isinstance(body, bytes) else body
        sending = asyncio.ensure_future(self._send(pieces, is_chunked=is_chunked, wait_s=wait_s))
        self._sending = sending
        sending.add_done_callback(self._sent)
        try:
            await response.head(math.inf)
        except UpstreamError:
            if sending.done() and not sending.cancelled() and (fault := sending.exception()):
                raise fault from None
            raise

    async def _send(self, pieces: AsyncIterator[bytes], *, is_chunked: bool, wait_s: float) -> None:
        async for piece in pieces:
            if piece:
                self._transport.write(b"%x\r\n%b\r\n" % (len(piece), piece) if is_chunked else piece)
            if self._room:
                self.expect_within(wait_s)
                await self._room
                self.expect_within(math.inf)
        if is_chunked:
            self._transport.write(b"0\r\n\r\n")
        if self._response and not self._response.has_head:
            self.expect_within(wait_s)

    def _sent(self, sending: asyncio.Future[None]) -> None:
        self._sending = None
        if not sending.cancelled() and sending.exception():
            self.close()

    def _fail(self, fault: UpstreamError) -> None:
        if not self.is_open:
            return
        self._fault = fault
        if self._timer:
            self._timer.cancel()
        if self._response:
            self._response.fail(fault)
        if self._sending:
            self._sending.cancel()
        self._transport.abort()

    def _set_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer_at = self._deadline
        self._timer = self._loop.call_at(self._deadline, self._ring)

    def _ring(self) -> None:
        self._timer, self._timer_at = None, math.inf
        if self._loop.time() >= self._deadline:
            self._fail(UpstreamTimeoutError("the teacher was silent for too long"))
        elif self._deadline < math.inf:
            self._set_timer()


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), WRITTEN_AT_ONCE_BYTES):
        yield body[start : start + WRITTEN_AT_ONCE_BYTES]
