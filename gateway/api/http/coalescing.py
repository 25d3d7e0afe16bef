"""A transport on which everything written in one turn of the event loop leaves in one system call."""

from __future__ import annotations

import asyncio
from typing import Any

from gateway.api.http.ignore_upgrade import IgnoreUpgradeProtocol

# Beyond it nothing waits: the socket's own back-pressure must be felt in time.
MOST_BYTES = 64 * 1024


class CoalescingProtocol(IgnoreUpgradeProtocol):
    """uvicorn's HTTP/1.1, whose head and body, written apart, leave together.

    uvloop writes at once what it is given, and to write is the dearest thing which a small answer does.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See asyncio.Protocol."""
        super().connection_made(_Coalescing(transport, self.loop))  # type: ignore[arg-type]


class _Coalescing:
    """A transport like the one inside, but for the moment of writing."""

    def __init__(self, inner: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._inner = inner
        self._loop = loop
        self._held: list[bytes] = []
        self._size = 0

    def write(self, data: bytes) -> None:
        if not data:
            return
        if not self._held:
            self._loop.call_soon(self._flush)
        self._held.append(data)
        self._size += len(data)
        if self._size >= MOST_BYTES:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._inner.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def _flush(self) -> None:
        held, self._held, self._size = self._held, [], 0
        # The client may have left since the writing: a closed transport of uvloop raises.
        if held and not self._inner.is_closing():
            self._inner.write(b"".join(held))
