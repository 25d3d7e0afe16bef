"""One of the two connections that a websocket's tunnel splices."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

# A peer that vanished without a word is noticed after a minute, where the system lets us say so.
_PROBES = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))


class TunnelSide(asyncio.Protocol):
    """The protocol on one side of a tunnel; `other` is the transport of the other side."""

    other: asyncio.Transport

    def __init__(self, take: Callable[[bytes], None]) -> None:
        self.lost = asyncio.get_running_loop().create_future()
        self.leaves_other_open = False
        self._take = take
        self._holds = 0
        """Why nothing more is read from the other side: this side's buffer is full, a check."""

    def data_received(self, data: bytes) -> None:
        """Read it, and send it to the other side."""
        self._take(data)

    def pause_writing(self) -> None:
        """Read no more from the other side while this side's buffer is full."""
        self._holds += 1
        if not self.other.is_closing():
            self.other.pause_reading()

    def resume_writing(self) -> None:
        """Read from the other side again."""
        self._holds -= 1
        if not self._holds and not self.other.is_closing():
            self.other.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Close the other side once it has been sent everything that is buffered for it."""
        if not self.lost.done():
            self.lost.set_result(None)
        if not self.leaves_other_open:
            self.other.close()


def detect_dead_peer(transport: asyncio.Transport) -> None:
    """Let the system probe the peer, so that one that is gone is lost after a minute."""
    sock = transport.get_extra_info("socket")
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _PROBES:
        if hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
