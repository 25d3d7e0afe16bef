"""A batch of texts is embedded in order, a few at a time, and stops when its caller leaves."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from gateway.errors import SpecialistError
from gateway.specialists.base import Drafter
from gateway.specialists.client.batch import AT_ONCE, BatchEmbedder


class FakeDrafter:
    """Embeds a text as itself once `gate` is open; fails on "bad"."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.running = self.most = self.total = 0

    async def embed(self, text: str, budget_s: float) -> bytes:
        self.total += 1
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
def drafter() -> FakeDrafter:
    return FakeDrafter()


@pytest.fixture
def batch(drafter: FakeDrafter) -> BatchEmbedder:
    return BatchEmbedder(cast(Drafter, cast(Any, drafter)), 1.0)


async def wait_for_running(drafter: FakeDrafter, count: int) -> None:
    while drafter.running < count:
        await asyncio.sleep(0)


async def test_vectors_come_in_the_order_of_the_texts(drafter: FakeDrafter, batch: BatchEmbedder) -> None:
    drafter.gate.set()
    texts = [str(number) for number in range(20)]

    assert await batch.embed_texts(texts) == [text.encode() for text in texts]


async def test_only_a_few_texts_of_all_requests_are_at_the_host(
    drafter: FakeDrafter, batch: BatchEmbedder
) -> None:
    waiting = [asyncio.ensure_future(batch.embed_texts(["a"] * 9)) for _ in range(3)]
    await wait_for_running(drafter, AT_ONCE)
    drafter.gate.set()
    await asyncio.gather(*waiting)

    assert (drafter.most, drafter.total) == (AT_ONCE, 27)


async def test_the_first_failure_ends_the_batch(drafter: FakeDrafter, batch: BatchEmbedder) -> None:
    drafter.gate.set()

    with pytest.raises(SpecialistError, match="input too long"):
        await batch.embed_texts(["bad", *["a"] * 100])
    await asyncio.sleep(0)

    assert drafter.running == 0
    assert drafter.total < 100


async def test_a_cancelled_batch_sends_no_more_texts(drafter: FakeDrafter, batch: BatchEmbedder) -> None:
    waiting = asyncio.ensure_future(batch.embed_texts(["a"] * 50))
    await wait_for_running(drafter, AT_ONCE)
    waiting.cancel()
    await asyncio.wait([waiting])
    await asyncio.sleep(0)

    assert (drafter.running, drafter.total) == (0, AT_ONCE)
