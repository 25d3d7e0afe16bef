"""Embeddings of many texts, without delaying the drafts of other requests."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from gateway.specialists.base import Drafter

# Two keep the host's threads busy, two are on their way; a draft then waits 8 ms at most.
AT_ONCE = 4


class BatchEmbedder:
    """Sends texts to the host a few at a time, counted over all requests of this process."""

    def __init__(self, drafter: Drafter, budget_s: float) -> None:
        """`budget_s` is the time limit of one text, from the moment its turn comes."""
        self._drafter = drafter
        self._budget_s = budget_s
        self._turn = asyncio.Semaphore(AT_ONCE)

    async def embed_texts(self, texts: Sequence[str]) -> list[bytes]:
        """Return the unit embedding of each text as float32 bytes, in order.

        Cancelling it stops the work. Raises the SpecialistError of the first text that failed.
        """
        vectors = [b""] * len(texts)
        waiting = iter(range(len(texts)))

        async def work() -> None:
            for index in waiting:
                async with self._turn:
                    vectors[index] = await self._drafter.embed(texts[index], self._budget_s)

        workers = [asyncio.ensure_future(work()) for _ in range(min(AT_ONCE, len(texts)))]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
        return vectors
