"""A batch of texts is embedded in order, a few at a time, and stops when nobody waits for it."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from gateway.errors import SpecialistError
from gateway.specialists.base import Drafter
from gateway.specialists.client.batch import AT_ONCE, Batch


class Embedder:
    """Embeds a text as itself once `gate` is open; fails on "bad"."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.running = self.most = self.asked = 0

    async def embed(self, text: str, budget_s: float) -> bytes:
        self.asked += 1
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.gate.wait()
            await asyncio.sleep(0)
            if text == "bad":
                raise SpecialistError("input too long")
            return text.encode()
        finally:
            self.running -= 1


@pytest.fixture
def embedder() -> Embedder:
    return Embedder()


@pytest.fixture
def batch(embedder: Embedder) -> Batch:
    return Batch(cast(Drafter, cast(Any, embedder)), 1.0)


async def started(embedder: Embedder, count: int) -> None:
    while embedder.running < count:
        await asyncio.sleep(0)


async def test_vectors_come_in_the_order_of_the_texts(embedder: Embedder, batch: Batch) -> None:
    embedder.gate.set()
    texts = [str(number) for number in range(20)]

    assert await batch.embed(texts) == [text.encode() for text in texts]


async def test_only_a_few_texts_of_all_requests_are_at_the_host(embedder: Embedder, batch: Batch) -> None:
    waiting = [asyncio.ensure_future(batch.embed(["a"] * 9)) for _ in range(3)]
    await started(embedder, AT_ONCE)
    embedder.gate.set()
    await asyncio.gather(*waiting)

    assert (embedder.most, embedder.asked) == (AT_ONCE, 27)


async def test_the_first_failure_ends_the_batch(embedder: Embedder, batch: Batch) -> None:
    embedder.gate.set()

    with pytest.raises(SpecialistError, match="input too long"):
        await batch.embed(["bad", *["a"] * 100])
    await asyncio.sleep(0)

    assert embedder.running == 0
    assert embedder.asked < 100


async def test_a_cancelled_batch_stops_asking(embedder: Embedder, batch: Batch) -> None:
    waiting = asyncio.ensure_future(batch.embed(["a"] * 50))
    await started(embedder, AT_ONCE)
    waiting.cancel()
    await asyncio.wait([waiting])
    await asyncio.sleep(0)

    assert (embedder.running, embedder.asked) == (0, AT_ONCE)
