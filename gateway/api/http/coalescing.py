"""A transport that sends everything written in one turn of the event loop with one system call."""

from __future__ import annotations

import asyncio
from typing import Any

# From here on nothing waits for the turn's end: the socket's own back-pressure must be felt in time.
MAX_PENDING_BYTES = 64 * 1024


class CoalescingTransport:
    """The transport inside, except that a write waits for the end of the loop's turn.

    uvloop sends each write at once, and the write is the most expensive step of a small answer, whose
    head and body uvicorn writes apart.
    """

    def __init__(self, inner: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._inner = inner
        self._loop = loop
        self._pending: list[bytes] = []
        self._size = 0
        # Asked with every request: found here without the detour over __getattr__.
        self.is_closing = inner.is_closing

    def write(self, data: bytes) -> None:
        """See asyncio.WriteTransport."""
        if not data:
            return
        if not self._pending:
            self._loop.call_soon(self._flush)
        self._pending.append(data)
        self._size += len(data)
        if self._size >= MAX_PENDING_BYTES:
            self._flush()

    def write_now(self, data: bytes) -> None:
        """Write what is pending and `data`: for a single whole answer nothing is gained by waiting."""
        if self._pending:
            self._flush()
        self._inner.write(data)

    def write_eof(self) -> None:
        """See asyncio.WriteTransport."""
        self._flush()
        if not self._inner.is_closing():
            self._inner.write_eof()

    def close(self) -> None:
        """See asyncio.BaseTransport."""
        self._flush()
        self._inner.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def _flush(self) -> None:
        pending, self._pending, self._size = self._pending, [], 0
        # The client may have left since the write: a closed transport of uvloop raises.
        if pending and not self._inner.is_closing():
            self._inner.write(b"".join(pending))
