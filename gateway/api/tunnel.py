"""Two connections made one: what comes at one end goes out at the other, no faster than it is taken."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Coroutine

from gateway.upstream.base import Link

# What one side still owes when the other has left: the end of a long message, a close frame.
DRAIN_S = 10.0
# A peer which vanished without a word is noticed after a minute, where the system lets us say so.
_PROBES = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))


def join(client: asyncio.Transport, link: Link) -> Coroutine[None, None, None]:
    """Join `client` and the teacher's connection; what is returned ends when both are closed.

    When one side leaves, the other gets DRAIN_S for what it has not read yet. Cancelling breaks
    both off. Raises UpstreamError, with `client` untouched, when the teacher has left already.
    """
    left, right = _Side(), _Side()
    right.other = client
    left.other = link.detach(right)
    client.set_protocol(left)
    for transport in (client, left.other):
        _watch_for_silence(transport)
    return _until_closed(left, right)


class _Side(asyncio.Protocol):
    """What one side of a passage hears; `other` is the way to the other side."""

    other: asyncio.Transport

    def __init__(self) -> None:
        self.lost = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        """Pass it on."""
        self.other.write(data)

    def pause_writing(self) -> None:
        """Read no more from the other side while this one is full."""
        if not self.other.is_closing():
            self.other.pause_reading()

    def resume_writing(self) -> None:
        """Go on."""
        if not self.other.is_closing():
            self.other.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let the other side read what is on its way, then close it."""
        if not self.lost.done():
            self.lost.set_result(None)
        self.other.close()


async def _until_closed(left: _Side, right: _Side) -> None:
    try:
        await asyncio.wait((left.lost, right.lost), return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait((left.lost, right.lost), timeout=DRAIN_S)
    finally:
        left.other.abort()
        right.other.abort()


def _watch_for_silence(transport: asyncio.Transport) -> None:
    plug = transport.get_extra_info("socket")
    if plug is None or plug.family not in (socket.AF_INET, socket.AF_INET6):
        return
    plug.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _PROBES:
        if hasattr(socket, option):
            plug.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
