"""The model host's end of one gateway worker's connection."""

from __future__ import annotations

import asyncio
import logging
from typing import cast

from gateway.ipc.framing import FrameDecoder, FrameError
from gateway.specialists.host.work_queue import Job, WorkQueue
from gateway.specialists.protocol import (
    Ask,
    Cancel,
    Done,
    Embed,
    Failed,
    Load,
    Opened,
    Piece,
    Ping,
    Question,
    Reply,
    Unload,
    frame,
    read_question,
)

logger = logging.getLogger(__name__)

_MAX_UNREAD_BYTES = 8 << 20


class Connection(asyncio.Protocol):
    """Reads questions, hands them to the workbench, writes replies as they come.

    Whoever sends something else is disconnected; whoever leaves has his waiting work dropped.
    """

    def __init__(self, work_queue: WorkQueue) -> None:
        self._workbench = work_queue
        self._frames = FrameDecoder()
        self._tickets: dict[int, Job] = {}
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        # uvloop's transports are asyncio's by their methods only, not by inheritance.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Handle every question which is complete."""
        try:
            for payload in self._frames.feed(data):
                self._handle(read_question(payload))
        except FrameError as exc:
            logger.warning("a connection is closed: %s", exc)
            self._hang_up()

    def connection_lost(self, exc: Exception | None) -> None:
        """Drop the work nobody waits for, and the versions nobody else wants."""
        self._transport = None
        for job in self._tickets.values():
            job.cancel()
        self._tickets.clear()
        self._workbench.release_all(self)

    def _handle(self, question: Question) -> None:
        match question:
            case Ask() | Embed():
                if job := self._workbench.draft(question, self._send):
                    self._tickets[question.id] = job
            case Cancel():
                if waiting := self._tickets.pop(question.id, None):
                    waiting.cancel()
            case Load():
                self._workbench.load(question, self, self._send)
            case Unload():
                self._workbench.unload(question, self, self._send)
            case Ping():
                self._send(Done(question.id))

    def _send(self, reply: Reply) -> None:
        if not isinstance(reply, Opened | Piece):
            self._tickets.pop(reply.id, None)
        if self._transport is None:
            return
        if self._transport.get_write_buffer_size() > _MAX_UNREAD_BYTES:
            logger.warning("a connection is closed: it does not read its replies")
            self._hang_up()
            return
        try:
            self._transport.write(frame(reply))
        except (FrameError, UnicodeEncodeError):
            self._transport.write(frame(Failed(reply.id, "specialists", "answer too long", "")))

    def _hang_up(self) -> None:
        if self._transport is not None:
            self._transport.abort()
