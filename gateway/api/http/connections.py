"""The connections of one server: how many there are, and which of them has waited too long."""

from __future__ import annotations

import asyncio
from typing import Protocol

from gateway.api.http.asgi import Receive, Scope, Send
from gateway.api.http.edge import RESERVED_CONNECTIONS, Config, allowed_connections
from gateway.api.http.refusals import RefusalLog
from gateway.api.http.whole_request import WholeRequest

SWEEP_S = 1.0


class Connection(Protocol):
    """One connection, as the sweep sees it."""

    def check(self, now: float) -> None:
        """End the connection if one of its deadlines has passed."""

    def make_room(self) -> None:
        """End the connection, which has nothing in work."""


class Tunnel(Protocol):
    """The transport of a connection that left HTTP."""

    def is_closing(self) -> bool:
        """Whether it is closed, or will be."""


class Pressure(Protocol):
    """Whether there is more work than the worker can do."""

    @property
    def is_tight(self) -> bool:
        """Whether anything is refused now."""

    @property
    def asks_who(self) -> bool:
        """Whether the answer of `is_refused` depends on the credential."""

    def is_refused(self, authorization: bytes) -> bool:
        """Return whether a request with this credential is."""

    def let_in(self) -> None:
        """Count a request that is not refused, until it counts itself."""


class Shed(Protocol):
    """What answers the requests that `Pressure` refuses: an ASGI application, or at once, with bytes."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""

    def write_response(self) -> bytes:
        """Return one whole response."""


class Connections:
    """All connections of one server; to be used in its event loop alone.

    One sweep a second looks at them all: timers of their own would cost each request two.
    """

    def __init__(
        self,
        config: Config,
        most: int | None = None,
        pressure: Pressure | None = None,
        shed: Shed | None = None,
    ) -> None:
        self.config = config
        self.pressure = pressure
        self.shed = shed
        """Answers what `pressure` refuses; there if `pressure` is."""
        self.whole_request = WholeRequest()
        self.log = RefusalLog()
        self.now = 0.0
        """The time in seconds to count deadlines from: the next sweep's, so that none comes early."""
        self.held_bytes = 0
        """What connections hold of unfinished heads and of requests behind one in work."""
        self._most = allowed_connections(config) if most is None else most
        self._open: dict[Connection, None] = {}
        # In the order of waiting, the longest first.
        self._fresh: dict[Connection, None] = {}
        self._idle: dict[Connection, None] = {}
        self._tunnels: list[Tunnel] = []
        self._timer: asyncio.TimerHandle | None = None

    @property
    def can_hold(self) -> bool:
        """Whether there is room for more of `held_bytes`."""
        return self.held_bytes <= self.config.all_heads_mb << 20

    @property
    def is_full(self) -> bool:
        """Whether every connection is taken, the reserve aside."""
        return len(self._open) + len(self._tunnels) > self._most

    @property
    def is_reserve_used(self) -> bool:
        """Whether the reserve is taken, too."""
        return len(self._open) + len(self._tunnels) > self._most + RESERVED_CONNECTIONS

    def add(self, connection: Connection, loop: asyncio.AbstractEventLoop) -> None:
        """Follow a new connection, and end the one that has waited longest if there are too many."""
        if self._timer is None:
            self.now = max(self.now, loop.time() + SWEEP_S)
            self._timer = loop.call_later(SWEEP_S, self._sweep, loop)
        self._open[connection] = None
        if self.is_full:
            self._forget_closed_tunnels()
        if self.is_full:
            self._make_room()
        self._fresh[connection] = None

    def remove(self, connection: Connection) -> None:
        """Follow a connection no longer."""
        self._open.pop(connection, None)
        self.note_busy(connection)

    def hand_over(self, connection: Connection, tunnel: Tunnel) -> None:
        """Count `connection` as a tunnel from now on."""
        self.remove(connection)
        self._tunnels.append(tunnel)

    def note_busy(self, connection: Connection) -> None:
        """Note that a request of `connection` is in work."""
        self._fresh.pop(connection, None)
        self._idle.pop(connection, None)

    def note_idle(self, connection: Connection) -> None:
        """Note that `connection` waits for its next request."""
        self._idle[connection] = None

    def note_refused(self, connection: Connection) -> None:
        """Note that `connection` has been answered at once, and waits for its next request."""
        if connection in self._idle:
            del self._idle[connection]
        else:
            self._fresh.pop(connection, None)
        self._idle[connection] = None

    def _make_room(self) -> None:
        """End the connection that has waited longest, first one that never sent a whole head.

        As nginx does when its connections run out (ngx_drain_connections).
        """
        waiting = next(iter(self._fresh), None) or next(iter(self._idle), None)
        if waiting is not None:
            self.log.note("a waiting connection made room for a new one", self.now)
            self.remove(waiting)
            waiting.make_room()

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        self._forget_closed_tunnels()
        for connection in list(self._open):
            connection.check(self.now)
        # Not the clock's time: what came while this loop stood still is unread, and no client was silent.
        self.now += SWEEP_S
        # Without connections nothing is to be done, and an idle server must be able to end.
        self._timer = loop.call_later(SWEEP_S, self._sweep, loop) if self._open else None

    def _forget_closed_tunnels(self) -> None:
        self._tunnels = [tunnel for tunnel in self._tunnels if not tunnel.is_closing()]
