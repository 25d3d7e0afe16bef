"""A worker takes as much work as it can do, shares it fairly, and refuses the rest at once."""

from __future__ import annotations

import asyncio

import pytest

from gateway.api.in_flight import FEWEST, LATE_FOR_S, LATE_S, LATE_TURNS, InFlight
from gateway.errors import RateLimitedError, RequestError

LATE = LATE_S * 2


async def fill(in_flight: InFlight, caller: str) -> int:
    """Enter for `caller` until refused; return how many found a place."""
    for count in range(1000):
        try:
            in_flight.enter(caller)
        except RequestError:
            return count
    raise AssertionError("nothing was refused")


async def test_more_than_the_limit_is_refused_with_the_time_to_come_back() -> None:
    in_flight = InFlight(2, is_shared=False)
    first = in_flight.enter("a")
    in_flight.enter("b")

    with pytest.raises(RequestError) as refused:
        in_flight.enter("c")

    assert refused.value.status == 503
    assert (b"retry-after", b"1") in refused.value.headers
    first.close()
    first.close()
    in_flight.enter("c")
    assert in_flight.is_refused(b"")


async def test_one_caller_leaves_room_for_others() -> None:
    in_flight = InFlight(100)

    assert await fill(in_flight, "greedy") == 75

    for _ in range(12):
        in_flight.enter("a")
        in_flight.enter("b")


async def test_a_caller_beyond_its_share_is_told_so_and_shed_at_the_edge() -> None:
    in_flight = InFlight(100)
    await fill(in_flight, "greedy")

    with pytest.raises(RateLimitedError) as refused:
        in_flight.enter("greedy", [(b"authorization", b"Bearer greedy")])

    assert refused.value.status == 429
    assert in_flight.is_refused(b"Bearer greedy")
    assert not in_flight.is_refused(b"Bearer modest")


async def test_callers_who_share_nothing_have_the_whole_limit() -> None:
    assert await fill(InFlight(100, is_shared=False), "open") == 100


async def test_a_loop_that_is_late_now_and_then_refuses_nothing() -> None:
    in_flight = InFlight(4000)
    for number in range(200):
        in_flight.enter(str(number))

    for turn in range(100):
        in_flight.adapt(LATE if turn % LATE_TURNS else 0.0)
    in_flight.adapt(10 * LATE_FOR_S)

    assert in_flight.limit == 4000


async def test_a_loop_that_waited_for_a_core_is_not_late_for_that() -> None:
    in_flight = InFlight(4000)
    for number in range(200):
        in_flight.enter(str(number))

    for _ in range(10 * LATE_TURNS):
        in_flight.adapt(LATE_FOR_S, LATE_FOR_S)
    assert in_flight.limit == 4000

    for _ in range(LATE_TURNS):
        in_flight.adapt(2 * LATE_FOR_S, LATE_FOR_S)
    assert in_flight.limit == 160


async def test_a_late_loop_lowers_the_limit_below_what_is_in_work_and_a_prompt_one_restores_it() -> None:
    in_flight = InFlight(4000)
    for number in range(200):
        in_flight.enter(str(number))

    for _ in range(LATE_TURNS):
        in_flight.adapt(LATE_FOR_S / LATE_TURNS)
    assert in_flight.limit == 160
    for _ in range(100):
        in_flight.adapt(LATE)
    assert in_flight.limit == FEWEST

    for _ in range(200):
        in_flight.adapt(0.0)
    assert in_flight.limit == 4000


async def test_the_limit_is_never_above_the_most_that_is_allowed() -> None:
    in_flight = InFlight(3)
    in_flight.enter("a")

    for _ in range(20):
        in_flight.adapt(10 * LATE_FOR_S)

    assert in_flight.limit == 3


async def test_requests_that_arrive_together_do_not_all_find_the_last_place() -> None:
    in_flight = InFlight(3)
    in_flight.enter("a")

    in_flight.let_in()
    assert not in_flight.is_refused(b"")
    in_flight.let_in()
    assert in_flight.is_refused(b"")

    # They never entered: nothing is left of them after the loop's turn.
    await asyncio.sleep(0)
    assert not in_flight.is_refused(b"")


async def test_what_was_let_in_is_not_refused_by_a_limit_lowered_since() -> None:
    in_flight = InFlight(100, is_shared=False)
    for _ in range(50):
        in_flight.enter("a")
    for _ in range(LATE_TURNS):
        in_flight.adapt(LATE_FOR_S)

    assert in_flight.is_refused(b"")
    in_flight.enter("a")
