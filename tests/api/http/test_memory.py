"""The bodies in work share one budget, in the order of asking; what finds no room soon is refused."""

from __future__ import annotations

import asyncio

import pytest

from gateway.api.http.memory import COPIES, EARNEST_BYTES, FREE_BYTES, BodyMemory, MemoryBudget
from gateway.errors import RequestError


async def test_what_does_not_fit_waits_for_room() -> None:
    budget = MemoryBudget(100, wait_s=60)
    first = await budget.take(80)
    waiting = asyncio.create_task(budget.take(50))
    behind = asyncio.create_task(budget.take(1))
    await asyncio.sleep(0)
    assert not waiting.done()

    budget.give_back(first)

    assert await waiting == 50
    assert await behind == 1
    assert budget.taken == 51


async def test_what_finds_no_room_in_time_is_refused_and_costs_nothing() -> None:
    budget = MemoryBudget(100, wait_s=0.01)
    await budget.take(80)

    with pytest.raises(RequestError) as refused:
        await budget.take(50)

    assert refused.value.status == 503
    assert (b"retry-after", b"1") in refused.value.headers
    assert budget.taken == 80
    assert await budget.take(20) == 20


async def test_one_that_leaves_while_it_waits_lets_the_next_in() -> None:
    budget = MemoryBudget(100, wait_s=60)
    await budget.take(80)
    leaving = asyncio.create_task(budget.take(50))
    behind = asyncio.create_task(budget.take(20))
    await asyncio.sleep(0)

    leaving.cancel()

    assert await behind == 20
    assert budget.taken == 100


async def test_a_body_larger_than_the_budget_passes_alone() -> None:
    budget = MemoryBudget(100)

    assert await budget.take(1000) == 100


async def test_what_is_only_announced_takes_no_room() -> None:
    """Not before the body is seen to come: then all of it, so that it need not stop half-way."""
    budget = MemoryBudget(1 << 30)
    memory = BodyMemory(budget)

    await memory.cover(100_000, announced=40 << 20)
    assert budget.taken < 1 << 20
    await memory.cover(EARNEST_BYTES, announced=40 << 20)

    assert budget.taken == ((40 << 20) - FREE_BYTES) * COPIES


async def test_a_body_that_grows_beyond_the_budget_passes_alone() -> None:
    budget = MemoryBudget(10 << 20, wait_s=0.01)
    memory = BodyMemory(budget)

    for size in range(1 << 20, 20 << 20, 1 << 20):
        await memory.cover(size)

    assert budget.taken == 10 << 20


async def test_a_body_takes_what_its_copies_need_and_gives_all_of_it_back() -> None:
    budget = MemoryBudget(1 << 30)
    memory = BodyMemory(budget)

    await memory.cover(FREE_BYTES)
    assert budget.taken == 0
    for size in range(0, 40 << 20, 64 << 10):
        await memory.cover(size)
        assert (size - FREE_BYTES) * COPIES <= budget.taken
    assert budget.taken < 56 * COPIES << 20

    memory.release()
    memory.release()
    assert budget.taken == 0
