"""The gateway's end of one connection to the model host: many requests at once, replies in any order."""

from __future__ import annotations

import asyncio
from typing import cast

from gateway.errors import SpecialistError
from gateway.ipc.framing import FrameDecoder, FrameError
from gateway.specialists.protocol import (
    Cancel,
    Failed,
    HostReply,
    HostRequest,
    Opened,
    Piece,
    decode_reply,
    encode_frame,
)

_MAX_UNSENT_BYTES = 4 << 20


class HostConnection(asyncio.Protocol):
    """Matches replies to requests; when the connection is lost, every waiting request fails."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._decoder = FrameDecoder()
        self._waiting: dict[int, asyncio.Future[HostReply | None]] = {}
        self._opened: dict[int, asyncio.Queue[HostReply]] = {}
        self._transport: asyncio.Transport | None = None
        self._lost = asyncio.Event()

    async def send_request(self, request: HostRequest, budget_s: float) -> HostReply:
        """Return the host's first reply to `request`; its id must be unused.

        After an Opened, `next_reply` returns the others. A connection lost while waiting is a
        Failed reply. Raises SpecialistError: "host down", "late", "overloaded", "input unreadable"
        for text that is not Unicode, or "demands too long" for a request that no frame holds. If
        the caller is late or cancelled, the host is told to drop the work.
        """
        if self._transport is None or self._transport.is_closing():
            raise SpecialistError("host down")
        if budget_s <= 0:
            # As where a slow body has used up a policy's `max_latency_ms`: the host would work for nothing.
            raise SpecialistError("late")
        if self._transport.get_write_buffer_size() > _MAX_UNSENT_BYTES:
            raise SpecialistError("overloaded", "the host does not read")
        try:
            self._transport.write(encode_frame(request))
        except UnicodeEncodeError:
            raise SpecialistError("input unreadable") from None
        except FrameError:
            raise SpecialistError("demands too long") from None
        first: asyncio.Future[HostReply | None] = self._loop.create_future()
        self._waiting[request.id] = first
        # Not asyncio.timeout: for each draft it would look up loop and task, with a system call each.
        timer = self._loop.call_later(budget_s, _give_up, first)
        reply = None
        try:
            reply = await first
        finally:
            timer.cancel()
            if reply is None:
                self.cancel(request.id)
        if reply is None:
            raise SpecialistError("late")
        return reply

    async def next_reply(self, number: int, timeout_s: float) -> HostReply:
        """Return the next reply to the opened request `number`. Raises SpecialistError("late")."""
        try:
            async with asyncio.timeout(timeout_s):
                reply = await self._opened[number].get()
        except TimeoutError:
            raise SpecialistError("late") from None
        if not isinstance(reply, Piece):
            del self._opened[number]
        return reply

    def cancel(self, number: int) -> None:
        """Tell the host that the reply to request `number` is wanted no longer, unless it has come."""
        was_waiting = self._waiting.pop(number, None) is not None
        was_open = self._opened.pop(number, None) is not None
        if (was_waiting or was_open) and self._transport is not None and not self._transport.is_closing():
            self._transport.write(encode_frame(Cancel(number)))

    async def is_lost_within(self, seconds: float) -> bool:
        """Wait at most `seconds`; return whether the connection is lost."""
        # Not wait_for: before Python 3.12 it swallows a cancellation that meets the event.
        try:
            async with asyncio.timeout(seconds):
                await self._lost.wait()
        except TimeoutError:
            return False
        return True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport for writing."""
        # uvloop's transports have the methods of asyncio.Transport but do not subclass it.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Pass on every reply that is complete."""
        try:
            for payload in self._decoder.feed(data):
                self._deliver(decode_reply(payload))
        except FrameError:
            if self._transport is not None:
                self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail every request that still waits."""
        self._lost.set()
        for number, replies in self._opened.items():
            replies.put_nowait(_lost_reply(number))
        waiting, self._waiting = self._waiting, {}
        for number, first in waiting.items():
            if not first.done():
                first.set_result(_lost_reply(number))

    def _deliver(self, reply: HostReply) -> None:
        if isinstance(reply, Opened) and reply.id in self._waiting:
            self._opened[reply.id] = asyncio.Queue()
        elif reply.id in self._opened:
            self._opened[reply.id].put_nowait(reply)
            return
        first = self._waiting.pop(reply.id, None)
        if first is not None and not first.done():
            first.set_result(reply)


def _give_up(first: asyncio.Future[HostReply | None]) -> None:
    if not first.done():
        first.set_result(None)


def _lost_reply(number: int) -> Failed:
    return Failed(number, "host down", "while it was at work")
