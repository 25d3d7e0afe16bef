"""Two connections spliced into a tunnel: each sends what the other receives, no faster than it is read."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Coroutine

from gateway.upstream.base import Link

# For the data that one side still owes when the other has left: the end of a long message, a close frame.
DRAIN_S = 10.0
# A peer that vanished without a word is noticed after a minute, where the system lets us say so.
_PROBES = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))


def splice_connections(client: asyncio.Transport, link: Link) -> Coroutine[None, None, None]:
    """Splice `client` to the teacher's connection; the returned coroutine ends when both are closed.

    When one side leaves, the other gets DRAIN_S for the data that it has not read yet. Cancelling
    closes both at once. Raises UpstreamError, with `client` untouched, if the teacher has left already.
    """
    client_side, teacher_side = _Side(), _Side()
    teacher_side.other = client
    client_side.other = link.detach(teacher_side)
    client.set_protocol(client_side)
    for transport in (client, client_side.other):
        _detect_dead_peer(transport)
    return _wait_closed(client_side, teacher_side)


class _Side(asyncio.Protocol):
    """The protocol on one side of a tunnel; `other` is the transport of the other side."""

    other: asyncio.Transport

    def __init__(self) -> None:
        self.lost = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        """Send it to the other side."""
        self.other.write(data)

    def pause_writing(self) -> None:
        """Read no more from the other side while this side's buffer is full."""
        if not self.other.is_closing():
            self.other.pause_reading()

    def resume_writing(self) -> None:
        """Read from the other side again."""
        if not self.other.is_closing():
            self.other.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Close the other side once it has been sent everything that is buffered for it."""
        if not self.lost.done():
            self.lost.set_result(None)
        self.other.close()


async def _wait_closed(client_side: _Side, teacher_side: _Side) -> None:
    lost = (client_side.lost, teacher_side.lost)
    try:
        await asyncio.wait(lost, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait(lost, timeout=DRAIN_S)
    finally:
        client_side.other.abort()
        teacher_side.other.abort()


def _detect_dead_peer(transport: asyncio.Transport) -> None:
    sock = transport.get_extra_info("socket")
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _PROBES:
        if hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
