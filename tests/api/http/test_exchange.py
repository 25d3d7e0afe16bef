"""A client that leaves stops the work done for it within a second."""

from __future__ import annotations

import asyncio
import gc

import pytest

from gateway.api.http.cycle import Cycle
from gateway.api.http.exchange import WATCH_AFTER_S, Exchange
from gateway.core import Answer, Request
from gateway.upstream.base import Call, Reply
from tests.api.site_server import SiteServer, ask_on, chat_body, chat_head
from tests.support.waiting import PATIENCE_S


async def wait_for_ever() -> None:
    await asyncio.Event().wait()


def test_leaving_while_waiting_for_the_head_cancels_the_flow(site: SiteServer) -> None:
    async def answer(_: Request) -> Answer:
        site.flow.signals.began.set()
        await wait_for_ever()
        raise AssertionError

    site.flow.answer = answer
    sock = site.open_socket(chat_head(len(chat_body())) + chat_body())
    assert site.flow.signals.began.wait(PATIENCE_S)

    sock.close()

    assert site.flow.signals.cancelled.wait(PATIENCE_S)


@pytest.mark.parametrize("kind", [b"application/json", b"text/event-stream"])
def test_leaving_in_the_middle_closes_the_body(site: SiteServer, kind: bytes) -> None:
    """Plain or streamed: the body is closed, and that stops the teacher."""

    async def answer(_: Request) -> Answer:
        return site.flow.with_body(b"data: 1\n\n", headers=((b"content-type", kind),), then=wait_for_ever())

    site.flow.answer = answer
    sock = site.open_socket(chat_head(len(chat_body())) + chat_body())
    assert site.flow.signals.began.wait(PATIENCE_S)

    sock.close()

    assert site.flow.signals.closed.wait(PATIENCE_S)


def test_leaving_with_answer_bytes_unread_closes_the_body(site: SiteServer) -> None:
    """A client that stopped reading blocks the sending; its leaving still ends everything."""

    async def answer(_: Request) -> Answer:
        return site.flow.with_body(*[b"x" * 1_000_000] * 100)

    site.flow.answer = answer
    sock = site.open_socket(chat_head(len(chat_body())) + chat_body())
    assert site.flow.signals.began.wait(PATIENCE_S)
    assert not site.flow.signals.closed.is_set()

    sock.close()

    assert site.flow.signals.closed.wait(PATIENCE_S)


def test_leaving_cancels_a_request_that_passes_through(site: SiteServer) -> None:
    async def reply(_: Call) -> Reply:
        site.teacher.signals.began.set()
        await wait_for_ever()
        raise AssertionError

    site.teacher.reply = reply
    sock = site.open_socket(b"GET /v1/files HTTP/1.1\r\nhost: x\r\n\r\n")
    assert site.teacher.signals.began.wait(PATIENCE_S)

    sock.close()

    assert site.teacher.signals.cancelled.wait(PATIENCE_S)


def test_leaving_during_an_upload_cancels_the_call(site: SiteServer) -> None:
    async def reply(call: Call) -> Reply:
        assert not isinstance(call.body, bytes)
        async for _ in call.body:
            site.teacher.signals.began.set()
        raise AssertionError

    site.teacher.reply = reply
    sock = site.open_socket(b"POST /v1/files HTTP/1.1\r\nhost: x\r\ncontent-length: 500\r\n\r\nabc")
    assert site.teacher.signals.began.wait(PATIENCE_S)

    sock.close()

    assert site.teacher.signals.cancelled.wait(PATIENCE_S)


def test_a_finished_answer_is_closed_without_being_cancelled(site: SiteServer) -> None:
    """The server's "disconnect" after the last byte does not cancel the body's own ending."""
    ended = site.flow.signals.cancelled

    class SlowToClose:
        def __init__(self) -> None:
            self.is_read = False

        def __aiter__(self) -> SlowToClose:
            return self

        async def __anext__(self) -> bytes:
            if self.is_read:
                raise StopAsyncIteration
            self.is_read = True
            return b"{}"

        async def aclose(self) -> None:
            for _ in range(10):
                await asyncio.sleep(0)
            ended.set()

    async def answer(_: Request) -> Answer:
        return Answer(status=200, headers=(), body=SlowToClose())

    site.flow.answer = answer

    assert site.chat().status == 200
    assert ended.wait(PATIENCE_S)


def test_the_next_client_is_answered_after_a_thousand_left(site: SiteServer) -> None:
    async def answer(_: Request) -> Answer:
        await wait_for_ever()
        raise AssertionError

    site.flow.answer = answer
    body = chat_body()
    for _ in range(1000):
        site.open_socket(chat_head(len(body)) + body).close()
    site.flow.answer = site.flow.default_answer

    assert site.chat().status == 200


@pytest.mark.parametrize("way", ["quick", "slow", "passed through"])
def test_an_answered_request_leaves_memory_without_the_garbage_collector(site: SiteServer, way: str) -> None:
    """Else it stays until a collection, and 600 of them make one that stops all answers for 8 ms."""

    async def answer_slowly(request: Request) -> Answer:
        await asyncio.sleep(1.2 * WATCH_AFTER_S)
        return await site.flow.default_answer(request)

    if way == "slow":
        site.flow.answer = answer_slowly
    path = "/v1/files" if way == "passed through" else "/v1/chat/completions"
    connection = site.connect()
    gc.collect()
    gc.disable()
    try:
        before = count_exchanges()
        for _ in range(10):
            assert ask_on(connection, "POST", path, chat_body()).status == 200
        # The teacher's own records hold the uploads.
        site.teacher.calls.clear()

        # The connection keeps its last cycle, and the last exchange may be about to end.
        assert count_exchanges() - before <= 2
    finally:
        gc.enable()
        connection.close()


def count_exchanges() -> int:
    """Return how many requests are in memory, by the larger of the two objects that stand for one."""
    kinds = [type(each) for each in gc.get_objects()]
    return max(kinds.count(Exchange), kinds.count(Cycle))
