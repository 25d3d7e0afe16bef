"""Connections that wait for a worker that is dead or stands still: its neighbors take them in."""

from __future__ import annotations

import asyncio
import contextlib
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
        self._listeners = {file: socket.socket(fileno=file) for file in files}
        self._poll = select.poll()
        for listener in self._listeners.values():
            listener.setblocking(False)
            self._poll.register(listener, select.POLLIN)

    async def take_in(self, server: uvicorn.Server) -> None:
        """Take in what waits, until `server` is asked to end; then hold no socket open any more."""
        try:
            # What has waited for two looks: a worker at work is faster, and its own are its own.
            waiting: set[int] = set()
            while not server.should_exit:
                await asyncio.sleep(LOOK_EVERY_S)
                ready = self._poll.poll(0) if server.started else ()
                # One that does not listen yet is reported, too, as hung up.
                found = {file for file, event in ready if event & select.POLLIN}
                for file in found & waiting:
                    await _take_in(self._listeners[file], lambda: _create_protocol(server))
                waiting = found
        finally:
            for listener in self._listeners.values():
                listener.close()


async def _take_in(listener: socket.socket, create_protocol: Callable[[], asyncio.Protocol]) -> None:
    loop = asyncio.get_running_loop()
    # Another neighbor may be faster, a client may have left, and descriptors may run out.
    with contextlib.suppress(OSError):
        for _ in range(TAKEN_AT_ONCE):
            connection, _ = listener.accept()
            await loop.connect_accepted_socket(create_protocol, connection)


def _create_protocol(server: uvicorn.Server) -> asyncio.Protocol:
    """Return the protocol of a new connection, as the server itself makes it."""
    return server.config.http_protocol_class(  # type: ignore[call-arg]
        config=server.config, server_state=server.server_state, app_state=server.lifespan.state
    )
