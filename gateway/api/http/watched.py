"""uvicorn's HTTP/1.1 with deadlines: for what a client does not send, and for what it does not read."""

from __future__ import annotations

import asyncio
import math
from typing import Any

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from gateway.api.http.coalescing import CoalescingTransport
from gateway.api.http.connections import Connections
from gateway.api.http.ignore_upgrade import IgnoreUpgradeProtocol
from gateway.api.http.refusals import (
    HEAD_TOO_SLOW,
    TOO_MANY_CONNECTIONS,
    Refusal,
    write_refusal,
)

# For the client to read a refusal, and for what is left in our buffer when we close.
LINGER_S = 1.0
DRAIN_S = 10.0


class WatchedProtocol(IgnoreUpgradeProtocol):
    """One connection that is counted, and ended when it waits too long.

    A request in work has no deadline here: bodies have their own, and answers may take minutes.
    """

    def __init__(self, connections: Connections, **server: Any) -> None:
        super().__init__(**server)
        self._all = connections
        self._config = connections.config
        self._deadline = math.inf
        self._surplus = b""
        self._held_bytes = 0
        self._is_in_head = self._is_refused = self._is_in_reserve = False
        self._stalled_at = math.inf
        self._stalled_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See asyncio.Protocol."""
        self._coalescing = CoalescingTransport(transport, self.loop)
        super().connection_made(self._coalescing)  # type: ignore[arg-type]
        self._all.add(self, self.loop)
        self._deadline = self._all.now + self._config.keep_alive_s
        if self._all.is_full:
            self._is_in_reserve = True
            self._deadline = self._all.now + LINGER_S
            if self._all.is_reserve_used:
                self._refuse(TOO_MANY_CONNECTIONS)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._all.remove(self)
        self._hold(0)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        super().pause_writing()
        self._stalled_at = self._all.now
        self._stalled_bytes = self.transport.get_write_buffer_size()

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        super().resume_writing()
        self._stalled_at = math.inf

    def check(self, now: float) -> None:
        """See Connections."""
        if now >= self._deadline:
            self._end_late()
        elif self.transport.is_closing():
            self._deadline = min(self._deadline, now + DRAIN_S)
        elif now > self._stalled_at:
            taken = self._stalled_bytes - self.transport.get_write_buffer_size()
            config = self._config
            if now - self._stalled_at > config.stalled_s + taken / config.min_bytes_per_s:
                self._abort("a client that does not read its answer was cut")

    def make_room(self) -> None:
        """See Connections."""
        self._is_refused = True
        self.transport.abort()

    def on_response_complete(self) -> None:
        """Wait for the next request: the sweep ends a long silence, no timer of this connection."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        self._deadline = self._all.now + self._config.keep_alive_s
        self._all.note_idle(self)
        if self._surplus:
            self.loop.call_soon(self._feed_surplus)

    def _feed(self, data: bytes) -> None:
        """Parse `data`."""
        raise NotImplementedError

    def _feed_surplus(self) -> None:
        surplus, self._surplus = self._surplus, b""
        self._hold(0)
        if not self.transport.is_closing() and not self._is_refused:
            self._feed(surplus)

    def _is_in_work(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete and not cycle.more_body

    def _hold(self, size: int) -> None:
        """Count `size` bytes as held for this connection."""
        self._all.held_bytes += size - self._held_bytes
        self._held_bytes = size
        if size and self._is_in_head and not self._all.can_hold:
            self._refuse(TOO_MANY_CONNECTIONS)

    def _end_after_answer(self) -> None:
        self._is_refused = True
        self._surplus = b""
        self.cycle.keep_alive = False

    def _refuse(self, refusal: Refusal) -> None:
        self._is_refused = True
        self._all.log.note(refusal.code.replace("_", " "), self._all.now)
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and not cycle.response_complete:
            if cycle.response_started:
                self.transport.close()
                return
            cycle.disconnected = True
            cycle.message_event.set()
        # It may hold a whole head, and is not needed any more.
        self.parser = None  # type: ignore[assignment]
        self.transport.write(write_refusal(refusal))
        # Closing at once would reset the connection of a client that still sends: it would not read this.
        self.transport.write_eof()
        self.flow.resume_reading()
        self._deadline = self._all.now + LINGER_S

    def _end_late(self) -> None:
        if self.transport.get_write_buffer_size():
            self._abort("a client that does not read its answer was cut")
        elif self._is_in_head and not self._is_refused:
            self._refuse(HEAD_TOO_SLOW)
        else:
            self.transport.close()

    def _abort(self, why: str) -> None:
        self._all.log.note(why, self._all.now)
        self.transport.abort()
