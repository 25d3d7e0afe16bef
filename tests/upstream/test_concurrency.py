"""A teacher gets as many calls as it may have, and the others wait their turn."""

from __future__ import annotations

import asyncio

import pytest

from gateway.core import Secret
from gateway.errors import UpstreamBusyError
from gateway.upstream.base import Call, Config, Transport
from gateway.upstream.concurrency import DECREASE, FIRST_LIMIT, ConcurrencyLimit
from gateway.upstream.limited import LimitedTeacher
from gateway.upstream.providers.openai import create
from tests.support.waiting import PATIENCE_S
from tests.upstream.conftest import RawTeacher, read

CHAT = Call(method="POST", target=b"/v1/chat/completions", headers=(), body=b"{}", is_repeatable=True)
ENDLESS = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n"


async def test_places_go_to_those_that_have_waited_longest() -> None:
    limit = ConcurrencyLimit(1, adapts=False, wait_s=60)
    await limit.acquire()
    order: list[int] = []

    async def wait(number: int) -> None:
        await limit.acquire()
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


async def test_what_has_waited_its_turn_already_is_the_first() -> None:
    limit = ConcurrencyLimit(1, adapts=False, wait_s=60)
    await limit.acquire()
    order: list[str] = []

    async def wait(name: str, *, is_first: bool) -> None:
        await limit.acquire(is_first=is_first)
        order.append(name)
        limit.release()

    waiting = [asyncio.create_task(wait("new", is_first=False))]
    await asyncio.sleep(0)
    waiting.append(asyncio.create_task(wait("again", is_first=True)))
    await asyncio.sleep(0)
    limit.release()
    await asyncio.gather(*waiting)

    assert order == ["again", "new"]


async def test_a_wait_has_a_deadline_and_another_teacher_none() -> None:
    limit = ConcurrencyLimit(1, adapts=False, wait_s=0.01)
    await limit.acquire()

    with pytest.raises(UpstreamBusyError, match="in time"):
        await limit.acquire()
    with pytest.raises(UpstreamBusyError) as exc:
        limit.require_place()

    assert not exc.value.was_sent
    limit.release()
    limit.require_place()


async def test_a_place_given_in_the_moment_of_leaving_goes_to_the_next() -> None:
    limit = ConcurrencyLimit(1, adapts=False, wait_s=60)
    await limit.acquire()
    first = asyncio.create_task(limit.acquire())
    await asyncio.sleep(0)
    limit.release()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)

    await asyncio.wait_for(limit.acquire(), 1)
    assert limit.in_flight == 1


async def test_a_wait_that_ends_in_the_moment_in_which_a_place_comes_free_is_no_fault() -> None:
    limit = ConcurrencyLimit(1, adapts=False, wait_s=60)
    await limit.acquire()
    leaving = asyncio.create_task(limit.acquire())
    await asyncio.sleep(0)
    leaving.cancel()
    limit.release()
    [ended] = await asyncio.gather(leaving, return_exceptions=True)

    assert isinstance(ended, asyncio.CancelledError)
    assert (limit.in_flight, limit.waiting) == (0, 0)


async def test_the_calls_of_one_round_lower_the_limit_once_and_those_of_one_raise_it_by_one() -> None:
    """A clock would not know how long a round is: 50 ms for one teacher, half a minute for another."""
    limit = ConcurrencyLimit(None, adapts=True, wait_s=1)
    for _ in range(16):
        await limit.acquire()

    for _ in range(5):
        limit.note_overload(0)
    assert limit.limit == pytest.approx(FIRST_LIMIT * DECREASE)
    limit.note_overload(limit.decreases)
    lowest = limit.limit
    assert lowest == pytest.approx(FIRST_LIMIT * DECREASE**2)

    for _ in range(int(lowest) + 1):
        limit.note_answer()
    assert lowest + 0.9 < limit.limit < lowest + 1.2


async def test_a_limit_that_nothing_reaches_does_not_rise_nor_any_above_the_most() -> None:
    limit = ConcurrencyLimit(2, adapts=True, wait_s=1)
    limit.note_answer()
    await limit.acquire()
    for _ in range(9):
        limit.note_answer()

    assert limit.limit == 2


async def test_a_fixed_limit_stays() -> None:
    limit = ConcurrencyLimit(4, adapts=False, wait_s=1)
    limit.note_overload(0)
    limit.note_answer()

    assert limit.limit == 4


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
    assert teacher.limit.in_flight == 1

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


async def test_a_call_that_waits_to_be_sent_again_holds_no_place(raw: RawTeacher, client: Transport) -> None:
    """Half a second of nothing would cost a teacher of 50 ms ten answers."""
    config = Config(
        base_url=raw.origin, api_key=Secret("sk"), max_in_flight=1, first_wait_s=1_000, longest_wait_s=1_000
    )
    teacher = LimitedTeacher(create(config, client), config)
    raw.script = [b"HTTP/1.1 503 X\r\nretry-after: 900\r\ncontent-length: 0\r\n\r\n"]
    refused = asyncio.create_task(teacher.ask(CHAT))
    async with asyncio.timeout(PATIENCE_S):
        while not teacher.failures:
            await asyncio.sleep(0.001)

        assert (await teacher.ask(CHAT)).status == 200
    refused.cancel()
    await asyncio.gather(refused, return_exceptions=True)


async def test_no_place_in_time_is_no_failure_of_the_teacher(teacher: LimitedTeacher) -> None:
    await teacher.ask(CHAT)
    for _ in range(6):
        with pytest.raises(UpstreamBusyError):
            await teacher.ask(CHAT)

    assert (teacher.failures, teacher.retries, teacher.circuit.state) == (0, 0, "closed")


async def test_a_check_waits_for_no_place(teacher: LimitedTeacher) -> None:
    """A full teacher would be taken for a stalled one."""
    await teacher.ask(CHAT)

    assert await teacher.is_well()
