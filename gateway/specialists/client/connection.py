"""The gateway's end of one connection to the model host: many questions at once, replies in any order."""

from __future__ import annotations

import asyncio
from typing import cast

from gateway.errors import SpecialistError
from gateway.ipc.framing import FrameDecoder, FrameError
from gateway.specialists.protocol import (
    Cancel,
    Failed,
    Opened,
    Piece,
    Question,
    Reply,
    frame,
    read_reply,
)

_MAX_UNSENT_BYTES = 4 << 20


class HostConnection(asyncio.Protocol):
    """Matches replies to questions until the connection is lost, then fails whoever still waits."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._frames = FrameDecoder()
        self._waiting: dict[int, asyncio.Future[Reply]] = {}
        self._opened: dict[int, asyncio.Queue[Reply]] = {}
        self._transport: asyncio.Transport | None = None
        self._lost = asyncio.Event()

    async def ask(self, question: Question, budget_s: float) -> Reply:
        """Return the host's first reply to `question`, whose id must be unused.

        After an Opened the others come by `next_of`. A connection lost while waiting is a Failed
        reply. Raises SpecialistError: "host down", "late", "overloaded", "input unreadable" for
        text which is no Unicode, or "demands too long" for what no frame holds. When nobody waits
        any more (late or cancelled) the host is told to drop the work.
        """
        if self._transport is None or self._transport.is_closing():
            raise SpecialistError("host down")
        if self._transport.get_write_buffer_size() > _MAX_UNSENT_BYTES:
            raise SpecialistError("overloaded", "the host does not read")
        try:
            self._transport.write(frame(question))
        except UnicodeEncodeError:
            raise SpecialistError("input unreadable") from None
        except FrameError:
            raise SpecialistError("demands too long") from None
        reply: asyncio.Future[Reply] = self._loop.create_future()
        self._waiting[question.id] = reply
        is_answered = False
        try:
            async with asyncio.timeout(budget_s):
                answer = await reply
            is_answered = True
            return answer
        except TimeoutError:
            raise SpecialistError("late") from None
        finally:
            if not is_answered:
                self.call_off(question.id)

    async def next_of(self, number: int, patience_s: float) -> Reply:
        """Return the next reply to the opened question `number`. Raises SpecialistError("late")."""
        try:
            async with asyncio.timeout(patience_s):
                reply = await self._opened[number].get()
        except TimeoutError:
            raise SpecialistError("late") from None
        if not isinstance(reply, Piece):
            del self._opened[number]
        return reply

    def call_off(self, number: int) -> None:
        """Tell the host that nobody waits for question `number` any more; nothing if it was answered."""
        was_waiting = self._waiting.pop(number, None) is not None
        was_open = self._opened.pop(number, None) is not None
        if (was_waiting or was_open) and self._transport is not None and not self._transport.is_closing():
            self._transport.write(frame(Cancel(number)))

    async def is_lost_within(self, seconds: float) -> bool:
        """Wait at most `seconds`; return whether the connection is lost."""
        # Not wait_for: before Python 3.12 it swallows a cancellation which meets the event.
        try:
            async with asyncio.timeout(seconds):
                await self._lost.wait()
        except TimeoutError:
            return False
        return True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way out."""
        # uvloop's transports are asyncio's by their methods only, not by inheritance.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Wake up whoever waits for what is complete."""
        try:
            for payload in self._frames.feed(data):
                self._settle(read_reply(payload))
        except FrameError:
            if self._transport is not None:
                self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail everybody who still waits."""
        self._lost.set()
        for number, replies in self._opened.items():
            replies.put_nowait(Failed(number, "specialists", "host down", "while it was at work"))
        waiting, self._waiting = self._waiting, {}
        for number, reply in waiting.items():
            if not reply.done():
                reply.set_result(Failed(number, "specialists", "host down", "while it was at work"))

    def _settle(self, reply: Reply) -> None:
        if isinstance(reply, Opened) and reply.id in self._waiting:
            self._opened[reply.id] = asyncio.Queue()
        elif reply.id in self._opened:
            self._opened[reply.id].put_nowait(reply)
            return
        waiting = self._waiting.pop(reply.id, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(reply)
