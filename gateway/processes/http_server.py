"""A uvicorn server with our own HTTP/1.1 protocol, on a socket that the supervisor bound."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import uvicorn

from gateway.api.http.connections import Connections
from gateway.api.http.protocol import create_protocol
from gateway.errors import ConfigError

BACKLOG = 2048
ACCEPTED_PER_TURN = 8


class _QuietServer(uvicorn.Server):
    """A server that leaves signals to the process that runs it."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture nothing."""
        yield


def create_server(
    app: object,
    connections: Connections,
    drain_s: float,
    websockets: Callable[..., asyncio.Protocol] | None = None,
) -> uvicorn.Server:
    """Return the server of `app`; asked to end, it waits `drain_s` for what it has in work."""
    config = uvicorn.Config(
        app,  # type: ignore[arg-type]
        http=create_protocol(connections),  # type: ignore[arg-type]
        lifespan="off",
        log_config=None,
        proxy_headers=False,
        ws=websockets or "none",  # type: ignore[arg-type]
        access_log=False,
        # The teacher's headers pass through: its `date` would be a second one.
        date_header=False,
        server_header=False,
        timeout_graceful_shutdown=drain_s,  # type: ignore[arg-type]
    )
    return _QuietServer(config)


def open_listeners(file: int) -> list[socket.socket]:
    """Return the socket `file`, which listens from now on, several times.

    libuv accepts one connection per listener and turn. A busy loop has 100 turns a second: 600 new
    connections waited for seconds, and a health check would have waited behind them.
    Raises ConfigError if another program has taken the port since the socket was bound.
    """
    _listen(file)
    files = [file, *(os.dup(file) for _ in range(ACCEPTED_PER_TURN - 1))]
    return [socket.socket(fileno=one) for one in files]


def _listen(file: int) -> None:
    # uvloop says nothing when this fails, and waits for connections that cannot come.
    with closing(socket.socket(fileno=os.dup(file))) as listener:
        try:
            listener.listen(BACKLOG)
        except OSError as exc:
            host, port = listener.getsockname()[:2]
            raise ConfigError(f"cannot listen on {host} port {port}: {exc.strerror}") from exc


def create_loop() -> asyncio.AbstractEventLoop:
    """Return a uvloop."""
    import uvloop

    return uvloop.new_event_loop()
