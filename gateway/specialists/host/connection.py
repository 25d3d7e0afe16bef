"""The model host's end of one gateway worker's connection."""

from __future__ import annotations

import asyncio
import logging
from typing import cast

from gateway.ipc.framing import FrameDecoder, FrameError
from gateway.ipc.socket_path import refuse_stranger
from gateway.specialists.host.work_queue import Job, WorkQueue
from gateway.specialists.protocol import (
    Cancel,
    Done,
    EmbedText,
    Failed,
    HostReply,
    HostRequest,
    LoadVersion,
    MakeDraft,
    Opened,
    Piece,
    Ping,
    UnloadVersion,
    decode_request,
    encode_frame,
)

logger = logging.getLogger(__name__)

_MAX_UNREAD_BYTES = 8 << 20


class WorkerConnection(asyncio.Protocol):
    """Reads requests, hands them to the work queue, writes replies as they come.

    A peer that sends anything else is disconnected. Queued work of a closed connection is dropped.
    """

    def __init__(self, work_queue: WorkQueue) -> None:
        self._work_queue = work_queue
        self._decoder = FrameDecoder()
        self._jobs: dict[int, Job] = {}
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport for writing; close it at once to another user."""
        # uvloop's transports have the methods of asyncio.Transport but do not subclass it.
        self._transport = cast(asyncio.Transport, transport)
        if (connected := transport.get_extra_info("socket")) is not None:
            try:
                refuse_stranger(connected)
            except OSError as exc:
                logger.warning("a connection is closed: %s", exc)
                self._abort()

    def data_received(self, data: bytes) -> None:
        """Handle every request that is complete."""
        try:
            for payload in self._decoder.feed(data):
                self._handle(decode_request(payload))
        except FrameError as exc:
            logger.warning("a connection is closed: %s", exc)
            self._abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Drop the work of this connection, and the versions that no other one wants."""
        self._transport = None
        for job in self._jobs.values():
            job.cancel()
        self._jobs.clear()
        self._work_queue.release_versions(self)

    def _handle(self, request: HostRequest) -> None:
        match request:
            case MakeDraft() | EmbedText():
                if job := self._work_queue.submit_draft(request, self._send):
                    self._jobs[request.id] = job
            case Cancel():
                if cancelled := self._jobs.pop(request.id, None):
                    cancelled.cancel()
            case LoadVersion():
                self._work_queue.load_version(request, self, self._send)
            case UnloadVersion():
                self._work_queue.unload_version(request, self, self._send)
            case Ping():
                self._send(Done(request.id))

    def _send(self, reply: HostReply) -> None:
        if not isinstance(reply, Opened | Piece):
            self._jobs.pop(reply.id, None)
        if self._transport is None:
            return
        if self._transport.get_write_buffer_size() > _MAX_UNREAD_BYTES:
            logger.warning("a connection is closed: it does not read its replies")
            self._abort()
            return
        try:
            self._transport.write(encode_frame(reply))
        except (FrameError, UnicodeEncodeError):
            self._transport.write(encode_frame(Failed(reply.id, "answer too long")))

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()
