from __future__ import annotations

import asyncio
import threading

from gateway.specialists.base import Prediction
from gateway.specialists.host.listener import ReplyListener
from gateway.specialists.protocol import HostReply, Opened, Piece


def ignore(reply: HostReply) -> None:
    pass


async def test_replies_of_a_thread_are_sent_by_the_loop_in_their_order() -> None:
    sent: list[tuple[HostReply, int]] = []
    listener = ReplyListener(
        7, asyncio.get_running_loop(), lambda reply: sent.append((reply, threading.get_ident()))
    )

    def work() -> None:
        listener.start_clock()
        listener.on_opening(Prediction(text="once", score=0.9))
        listener.on_piece(" upon")
        listener.on_piece(" a time")

    await asyncio.to_thread(work)

    opened, *pieces = [reply for reply, _ in sent]
    assert isinstance(opened, Opened)
    assert (opened.id, opened.prediction.text, opened.prediction.score) == (7, "once", 0.9)
    assert pieces == [Piece(7, " upon"), Piece(7, " a time")]
    assert {thread for _, thread in sent} == {threading.get_ident()}


async def test_the_latency_of_an_opening_counts_from_the_start_of_the_work() -> None:
    sent: list[HostReply] = []
    times = iter([100.0, 100.25, 100.25, 101.0, 101.5])
    listener = ReplyListener(1, asyncio.get_running_loop(), sent.append, clock=lambda: next(times))

    listener.start_clock()
    listener.on_opening(Prediction(text="once", score=0.9))
    await asyncio.sleep(0)

    assert isinstance(sent[0], Opened)
    assert sent[0].latency_ms == 250
    assert listener.elapsed_ms() == 1_000
    assert listener.silence_s() == 1.25


async def test_a_cancellation_calls_every_callback_once() -> None:
    called: list[str] = []
    listener = ReplyListener(1, asyncio.get_running_loop(), ignore)
    listener.add_cancel_callback(lambda: called.append("first"))
    listener.add_cancel_callback(lambda: called.append("second"))
    assert not listener.is_cancelled()

    listener.cancel()
    listener.cancel()

    assert listener.is_cancelled()
    assert called == ["first", "second"]


async def test_a_callback_added_after_the_cancellation_is_called_at_once() -> None:
    """A runtime may add it too late: the cancellation can come before its work begins."""
    called: list[str] = []
    listener = ReplyListener(1, asyncio.get_running_loop(), ignore)
    listener.cancel()

    listener.add_cancel_callback(lambda: called.append("late"))

    assert called == ["late"]


async def test_a_callback_may_use_the_listener() -> None:
    """Callbacks run outside the lock: an engine that calls back must not wait for ever."""
    called: list[bool] = []
    listener = ReplyListener(1, asyncio.get_running_loop(), ignore)

    def callback() -> None:
        called.append(listener.is_cancelled())
        listener.add_cancel_callback(lambda: called.append(True))

    listener.add_cancel_callback(callback)
    listener.cancel()

    assert called == [True, True]


def test_a_thread_that_outlives_the_loop_is_not_disturbed() -> None:
    loop = asyncio.new_event_loop()
    sent: list[HostReply] = []
    listener = ReplyListener(1, loop, sent.append)
    loop.close()

    listener.on_piece("too late")

    assert sent == []
