"""The key by which audits are chosen, where it may become that of other machines while this one serves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gateway.processes.loops import Loops
from gateway.store.home import Home, read_audit_key

EVERY_S = 1.0


class AuditKeyWatch:
    """Tells a worker the key on disk, once it is another one."""

    def __init__(self, home: Home, adopt: Callable[[bytes], None]) -> None:
        self._home = home
        self._adopt = adopt
        self._loops = Loops()

    def start(self) -> None:
        """Begin; call it in the loop that serves."""
        self._loops.start(self._look, EVERY_S)

    async def stop(self) -> None:
        """Look no more."""
        await self._loops.stop()

    async def _look(self) -> None:
        self._adopt(await asyncio.to_thread(read_audit_key, self._home))
