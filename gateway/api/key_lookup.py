"""A key that this worker does not know yet is looked for on disk, once."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)

# A made-up key that is sent again and again is not looked for again. Real keys are never in here: no
# client can send one before it is made.
UNKNOWN_S = 10.0
MOST_UNKNOWN = 4096


class KeyLookup:
    """Reads the keys anew when one is asked for that `is_known` does not know.

    However many unknown keys arrive at once, one reading runs at a time and one more waits, so guesses
    cost a few microseconds of a thread. `refresh` may block and runs in a thread.
    """

    def __init__(
        self,
        refresh: Callable[[], None],
        is_known: Callable[[str], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._refresh = refresh
        self._is_known = is_known
        self._clock = clock
        self._unknown_until: dict[str, float] = {}
        self._running: asyncio.Task[None] | None = None
        self._waiting: asyncio.Task[None] | None = None

    async def look_up(self, key_hash: str) -> bool:
        """Return whether the key is known now."""
        now = self._clock()
        if self._unknown_until.get(key_hash, 0.0) > now:
            return False
        await self._read_again()
        if self._is_known(key_hash):
            return True
        if len(self._unknown_until) >= MOST_UNKNOWN:
            self._unknown_until.clear()
        self._unknown_until[key_hash] = now + UNKNOWN_S
        return False

    async def _read_again(self) -> None:
        """Return after a reading that began no earlier than now: one that runs may have passed the key."""
        if self._waiting is None:
            self._waiting = asyncio.create_task(self._read_after(self._running))
        # A client that leaves must not end the reading for the others.
        await asyncio.shield(self._waiting)

    async def _read_after(self, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await before
        self._running, self._waiting = self._waiting, None
        try:
            await asyncio.to_thread(self._refresh)
        except Exception as exc:
            # The task's outermost edge: the key stays unknown, and the client may try again.
            logger.warning("keys cannot be read: %s", exc)
