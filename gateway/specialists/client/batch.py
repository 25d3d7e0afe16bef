"""Many texts to vectors, without keeping the drafts of others waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from gateway.specialists.base import Drafter

# Two keep the host's threads busy, two are on their way; a draft then waits 8 ms at most.
AT_ONCE = 4


class Batch:
    """Asks the host for vectors, a few at a time over all requests of this process."""

    def __init__(self, drafter: Drafter, budget_s: float) -> None:
        """`budget_s` is what one text may take once it is its turn."""
        self._drafter = drafter
        self._budget_s = budget_s
        self._turn = asyncio.Semaphore(AT_ONCE)

    async def embed(self, texts: Sequence[str]) -> list[bytes]:
        """Return the unit embedding of each text as float32 bytes, in order.

        Cancelling it stops the work. Raises SpecialistError with the first text's which failed.
        """
        vectors = [b""] * len(texts)
        waiting = iter(range(len(texts)))

        async def work() -> None:
            for place in waiting:
                async with self._turn:
                    vectors[place] = await self._drafter.embed(texts[place], self._budget_s)

        workers = [asyncio.ensure_future(work()) for _ in range(min(AT_ONCE, len(texts)))]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
        return vectors
