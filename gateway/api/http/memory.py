"""The memory that bodies of requests may take in one worker."""

from __future__ import annotations

import asyncio
from collections import deque

from gateway.errors import RequestError

# What is smaller is bounded by the number of requests.
FREE_BYTES = 64 << 10
# A body stands in memory as its pieces and their sum, then as itself and the texts read from it.
COPIES = 3
WAIT_S = 1.0
# When so much has arrived, a body takes all the room that it announced, lest many stop half-way; before, two
# clients that announced 40 MB and sent nothing kept all other large bodies out.
EARNEST_BYTES = 1 << 20


class MemoryBudget:
    """Bytes that the bodies in work may take together; to be used in one event loop.

    What does not fit waits its turn for a moment, in the order of asking.
    """

    def __init__(self, limit_bytes: int, wait_s: float = WAIT_S) -> None:
        self.limit = limit_bytes
        self._wait_s = wait_s
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self.taken = 0

    async def take(self, size: int) -> int:
        """Take room for `size` bytes and return what to give back: more than all counts as all.

        Raises RequestError (503) if there is no room soon.
        """
        size = min(size, self.limit)
        if not self._waiting and self.taken + size <= self.limit:
            self.taken += size
            return size
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        try:
            async with asyncio.timeout(self._wait_s):
                await turn
        except BaseException as exc:
            if turn.done() and not turn.cancelled():
                self.give_back(size)
            else:
                self._waiting = deque(one for one in self._waiting if one[1] is not turn)
                self._admit()
            if isinstance(exc, TimeoutError):
                raise _no_room() from exc
            raise
        return size

    def take_now(self, size: int) -> bool:
        """Take room for `size` bytes, to be given back, and return True; False if there is none now."""
        if self._waiting or self.taken + size > self.limit:
            return False
        self.taken += size
        return True

    def give_back(self, size: int) -> None:
        """Give back what `take` returned."""
        self.taken -= size
        self._admit()

    def _admit(self) -> None:
        while self._waiting and self.taken + self._waiting[0][0] <= self.limit:
            size, turn = self._waiting.popleft()
            if not turn.done():
                self.taken += size
                turn.set_result(None)


class BodyMemory:
    """The share of one request in the budget, which grows with its body."""

    def __init__(self, budget: MemoryBudget) -> None:
        self._budget = budget
        self._taken = 0
        self._covered = FREE_BYTES

    async def cover(self, body_bytes: int, announced: int | None = None) -> None:
        """Take room for the `body_bytes` that have arrived of a body, of `announced` bytes if it says so.

        Raises RequestError (503).
        """
        if body_bytes <= self._covered:
            return
        # It grows in large steps, lest it asks with every piece.
        target = max(body_bytes, min(2 * self._covered, self._covered + (8 << 20)))
        if announced is not None:
            is_earnest = body_bytes >= EARNEST_BYTES
            target = max(body_bytes, announced if is_earnest else min(target, announced))
        more = (target - self._covered) * COPIES
        self._taken += await self._budget.take(min(more, self._budget.limit - self._taken))
        self._covered = target

    def release(self) -> None:
        """Give everything back; later calls do nothing."""
        if self._taken:
            self._budget.give_back(self._taken)
            self._taken = 0


def _no_room() -> RequestError:
    return RequestError(
        "The gateway has no memory for the body of your request now; try again in a second.",
        status=503,
        code="overloaded",
        kind="server_error",
        headers=((b"retry-after", b"1"), (b"retry-after-ms", b"1000")),
    )
