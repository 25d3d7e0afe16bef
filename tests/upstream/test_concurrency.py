"""A teacher gets as many calls as it may have, and the others wait their turn."""

from __future__ import annotations

import asyncio

import pytest

from gateway.core import Secret
from gateway.errors import UpstreamBusyError
from gateway.upstream.base import Call, Config, Transport
from gateway.upstream.concurrency import DECREASE, DECREASE_EVERY_S, FIRST_LIMIT, ConcurrencyLimit
from gateway.upstream.limited import LimitedTeacher
from gateway.upstream.providers.openai import create
from tests.upstream.conftest import RawTeacher, read

CHAT = Call(method="POST", target=b"/v1/chat/completions", headers=(), body=b"{}", is_repeatable=True)
ENDLESS = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n"


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_places_go_to_those_that_have_waited_longest() -> None:
    limit = ConcurrencyLimit(1, adapts=False, wait_s=60)
    await limit.acquire(may_wait=True)
    order: list[int] = []

    async def wait(number: int) -> None:
        await limit.acquire(may_wait=True)
        order.append(number)
        limit.release()

    waiting = [asyncio.create_task(wait(number)) for number in range(5)]
    await asyncio.sleep(0)
    waiting[1].cancel()
    await asyncio.sleep(0)
    limit.release()
    await asyncio.gather(*waiting, return_exceptions=True)

    assert order == [0, 2, 3, 4]
    assert (limit.in_flight, limit.waiting) == (0, 0)


async def test_a_wait_has_a_deadline_and_another_teacher_none() -> None:
    limit = ConcurrencyLimit(1, adapts=False, wait_s=0.01)
    await limit.acquire(may_wait=True)

    with pytest.raises(UpstreamBusyError, match="in time"):
        await limit.acquire(may_wait=True)
    with pytest.raises(UpstreamBusyError) as exc:
        await limit.acquire(may_wait=False)

    assert not exc.value.was_sent
    limit.release()
    await limit.acquire(may_wait=False)


async def test_a_place_given_in_the_moment_of_leaving_goes_to_the_next() -> None:
    limit = ConcurrencyLimit(1, adapts=False, wait_s=60)
    await limit.acquire(may_wait=True)
    first = asyncio.create_task(limit.acquire(may_wait=True))
    await asyncio.sleep(0)
    limit.release()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)

    await asyncio.wait_for(limit.acquire(may_wait=True), 1)
    assert limit.in_flight == 1


async def test_a_wait_that_ends_in_the_moment_in_which_a_place_comes_free_is_no_fault() -> None:
    limit = ConcurrencyLimit(1, adapts=False, wait_s=60)
    await limit.acquire(may_wait=True)
    leaving = asyncio.create_task(limit.acquire(may_wait=True))
    await asyncio.sleep(0)
    leaving.cancel()
    limit.release()
    [ended] = await asyncio.gather(leaving, return_exceptions=True)

    assert isinstance(ended, asyncio.CancelledError)
    assert (limit.in_flight, limit.waiting) == (0, 0)


async def test_the_limit_falls_by_a_factor_once_per_round_and_rises_by_one() -> None:
    clock = Clock()
    limit = ConcurrencyLimit(None, adapts=True, wait_s=1, clock=clock)
    for _ in range(16):
        await limit.acquire(may_wait=False)

    for _ in range(5):
        limit.note_answer(is_overloaded=True)
    assert limit.limit == pytest.approx(FIRST_LIMIT * DECREASE)
    clock.now += DECREASE_EVERY_S
    limit.note_answer(is_overloaded=True)
    lowest = limit.limit
    assert lowest == pytest.approx(FIRST_LIMIT * DECREASE**2)

    for _ in range(int(lowest) + 1):
        limit.note_answer(is_overloaded=False)
    assert lowest + 0.9 < limit.limit < lowest + 1.2


async def test_a_limit_that_nothing_reaches_does_not_rise_nor_any_above_the_most() -> None:
    limit = ConcurrencyLimit(2, adapts=True, wait_s=1)
    limit.note_answer(is_overloaded=False)
    await limit.acquire(may_wait=False)
    for _ in range(9):
        limit.note_answer(is_overloaded=False)

    assert limit.limit == 2


@pytest.fixture
def teacher(raw: RawTeacher, client: Transport) -> LimitedTeacher:
    config = Config(
        base_url=raw.origin, api_key=Secret("sk"), max_in_flight=1, retries=0, queue_timeout_s=0.05
    )
    return LimitedTeacher(create(config, client), config)


async def test_a_place_is_kept_to_the_end_of_the_answer(teacher: LimitedTeacher, raw: RawTeacher) -> None:
    reply = await teacher.ask(CHAT)
    with pytest.raises(UpstreamBusyError):
        await teacher.ask(CHAT)
    assert teacher.describe_health()["in_flight"] == 1

    await read(reply.body)

    assert await read((await teacher.ask(CHAT)).body) == b"ok"
    assert raw.connections == 1


async def test_a_client_that_leaves_gives_its_place_back(teacher: LimitedTeacher, raw: RawTeacher) -> None:
    raw.script = [ENDLESS, b""]
    reply = await teacher.ask(CHAT)
    await reply.body.aclose()
    call = asyncio.create_task(teacher.ask(CHAT))
    await asyncio.sleep(0.01)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)

    assert teacher.limit.in_flight == 0


async def test_a_failure_gives_its_place_back(teacher: LimitedTeacher, raw: RawTeacher) -> None:
    raw.script = [None]
    await asyncio.gather(teacher.ask(CHAT), return_exceptions=True)

    assert teacher.limit.in_flight == 0


async def test_a_retry_that_succeeds_does_not_hide_that_it_was_too_much(
    raw: RawTeacher, client: Transport
) -> None:
    config = Config(base_url=raw.origin, api_key=Secret("sk"), adapts_in_flight=True)
    teacher = LimitedTeacher(create(config, client), config)
    raw.script = [b"HTTP/1.1 429 X\r\nretry-after: 0\r\ncontent-length: 0\r\n\r\n"]

    assert (await teacher.ask(CHAT)).status == 200
    assert teacher.limit.limit == pytest.approx(FIRST_LIMIT * DECREASE)
