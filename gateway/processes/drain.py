"""The end of a worker: it serves on, closes its door, lets answers finish, and cuts what is left."""

from __future__ import annotations

import asyncio

import uvicorn

from gateway.core.stopping import cancel_to_stop

# After the cut: for the last events to leave.
LAST_WORDS_S = 0.5


class Drain:
    """Ends `server` in steps once `begin` was called.

    For `delay_s` it serves as before, except that `has_begun` makes the worker unready. Then it takes no
    more connections, and answers under way have `limit_s` to finish; what is left then is cut. Websockets on
    which nothing is said end as soon as the door closes (`wait_until_closing`), not with the others.
    """

    def __init__(self, delay_s: float, limit_s: float) -> None:
        self.limit_s = limit_s
        self._delay_s = delay_s
        self._begun = asyncio.Event()
        self._closing = asyncio.Event()

    @property
    def has_begun(self) -> bool:
        """Whether the worker is about to end."""
        return self._begun.is_set()

    def begin(self) -> None:
        """Begin to end; later calls do nothing."""
        self._begun.set()

    async def wait_until_begun(self) -> None:
        """Return once the worker is about to end."""
        await self._begun.wait()

    async def wait_until_closing(self) -> None:
        """Return once no more connections are taken."""
        await self._closing.wait()

    async def end_server(self, server: uvicorn.Server) -> None:
        """Wait for `begin`, then end `server`; return when nothing is left that could be told anything."""
        await self._begun.wait()
        await asyncio.sleep(self._delay_s)
        self._closing.set()
        server.should_exit = True
        await asyncio.sleep(self.limit_s)
        for task in list(server.server_state.tasks):
            cancel_to_stop(task)
