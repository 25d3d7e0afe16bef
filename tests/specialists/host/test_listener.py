from __future__ import annotations

import asyncio
import threading

from gateway.specialists.base import Prediction
from gateway.specialists.host.listener import ReplyListener
from gateway.specialists.protocol import Opened, Piece, Reply


def ignore(reply: Reply) -> None:
    pass


async def test_what_a_thread_says_is_sent_by_the_loop_in_the_order_of_saying() -> None:
    heard: list[tuple[Reply, int]] = []
    listener = ReplyListener(
        7, asyncio.get_running_loop(), lambda reply: heard.append((reply, threading.get_ident()))
    )

    def work() -> None:
        listener.begin()
        listener.opening(Prediction(text="once", score=0.9))
        listener.piece(" upon")
        listener.piece(" a time")

    await asyncio.to_thread(work)

    opened, *pieces = [reply for reply, _ in heard]
    assert isinstance(opened, Opened)
    assert (opened.id, opened.text, opened.score) == (7, "once", 0.9)
    assert pieces == [Piece(7, " upon"), Piece(7, " a time")]
    assert {thread for _, thread in heard} == {threading.get_ident()}


async def test_the_time_of_an_opening_counts_from_the_beginning_of_the_work() -> None:
    heard: list[Reply] = []
    listener = ReplyListener(1, asyncio.get_running_loop(), heard.append)

    listener.begin()
    listener.opening(Prediction(text="once", score=0.9))
    await asyncio.sleep(0)

    assert isinstance(heard[0], Opened)
    assert 0.0 <= heard[0].latency_ms <= listener.elapsed_ms() < 10_000


async def test_whoever_leaves_sets_off_every_act_once() -> None:
    acts: list[str] = []
    listener = ReplyListener(1, asyncio.get_running_loop(), ignore)
    listener.when_left(lambda: acts.append("first"))
    listener.when_left(lambda: acts.append("second"))
    assert not listener.has_left()

    listener.leave()
    listener.leave()

    assert listener.has_left()
    assert acts == ["first", "second"]


async def test_an_act_for_somebody_who_has_left_is_done_at_once() -> None:
    """A runtime may ask too late: between the leaving and the asking it has begun to work."""
    acts: list[str] = []
    listener = ReplyListener(1, asyncio.get_running_loop(), ignore)
    listener.leave()

    listener.when_left(lambda: acts.append("late"))

    assert acts == ["late"]


async def test_an_act_may_ask_whether_the_listener_has_left() -> None:
    """The acts run outside the lock: an engine which asks back must not wait for ever."""
    seen: list[bool] = []
    listener = ReplyListener(1, asyncio.get_running_loop(), ignore)

    def act() -> None:
        seen.append(listener.has_left())
        listener.when_left(lambda: seen.append(True))

    listener.when_left(act)
    listener.leave()

    assert seen == [True, True]


def test_a_thread_which_outlives_the_loop_is_not_disturbed() -> None:
    loop = asyncio.new_event_loop()
    heard: list[Reply] = []
    listener = ReplyListener(1, loop, heard.append)
    loop.close()

    listener.piece("too late")

    assert heard == []
