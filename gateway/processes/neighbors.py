"""Connections that wait for a worker that is dead or stands still: its neighbors take them in."""

from __future__ import annotations

import asyncio
import select
import socket
from collections.abc import Callable, Sequence

import uvicorn

# What waits longer than one of these waits for a worker that takes nothing in.
LOOK_EVERY_S = 0.05
# The rest is taken at the next look, perhaps by another neighbor.
TAKEN_AT_ONCE = 64


class NeighborWatch:
    """Looks at the listening sockets of the other workers, and takes in what none of them does.

    The kernel gives each worker's socket its share of the new connections as long as any process holds it:
    they waited until a killed worker's successor listened, a second later, or a stopped one was replaced.
    """

    def __init__(self, files: Sequence[int]) -> None:
        self._listeners = [socket.socket(fileno=file) for file in files]
        for listener in self._listeners:
            listener.setblocking(False)

    async def take_in(self, server: uvicorn.Server) -> None:
        """Take in what waits, until `server` is asked to end; then hold no socket open any more."""
        try:
            # What has waited for two looks: a worker at work is faster, and its own are its own.
            waiting: set[int] = set()
            while not server.should_exit:
                await asyncio.sleep(LOOK_EVERY_S)
                found, _, _ = select.select(self._listeners, (), (), 0)
                if server.started:
                    for listener in found:
                        if listener.fileno() in waiting:
                            await _take_in(listener, lambda: _create_protocol(server))
                waiting = {listener.fileno() for listener in found}
        finally:
            for listener in self._listeners:
                listener.close()


async def _take_in(listener: socket.socket, create_protocol: Callable[[], asyncio.Protocol]) -> None:
    loop = asyncio.get_running_loop()
    for _ in range(TAKEN_AT_ONCE):
        try:
            connection, _ = listener.accept()
        except OSError:
            # Another neighbor was faster, or there is no descriptor left for it.
            return
        await loop.connect_accepted_socket(create_protocol, connection)


def _create_protocol(server: uvicorn.Server) -> asyncio.Protocol:
    """Return the protocol of a new connection, as the server itself makes it."""
    return server.config.http_protocol_class(  # type: ignore[call-arg]
        config=server.config, server_state=server.server_state, app_state=server.lifespan.state
    )
