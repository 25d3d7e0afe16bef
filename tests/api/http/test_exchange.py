"""A client which leaves stops the work done for it within a second."""

from __future__ import annotations

import asyncio

import pytest

from gateway.core import Answer, Request
from gateway.upstream.base import Call, Reply
from tests.api.site_server import House, chat_body, chat_head

LEAVING_S = 1.0


async def for_ever() -> None:
    await asyncio.Event().wait()


def test_leaving_while_waiting_for_the_head_cancels_the_flow(house: House) -> None:
    async def answer(_: Request) -> Answer:
        house.flow.signals.began.set()
        await for_ever()
        raise AssertionError

    house.flow.answer = answer
    plug = house.raw(chat_head(len(chat_body())) + chat_body())
    assert house.flow.signals.began.wait(LEAVING_S)

    plug.close()

    assert house.flow.signals.cancelled.wait(LEAVING_S)


@pytest.mark.parametrize("kind", [b"application/json", b"text/event-stream"])
def test_leaving_in_the_middle_closes_the_body(house: House, kind: bytes) -> None:
    """Plain or streamed: the body is closed, which is what stops the teacher."""

    async def answer(_: Request) -> Answer:
        return house.flow.with_body(b"data: 1\n\n", headers=((b"content-type", kind),), then=for_ever())

    house.flow.answer = answer
    plug = house.raw(chat_head(len(chat_body())) + chat_body())
    assert house.flow.signals.began.wait(LEAVING_S)

    plug.close()

    assert house.flow.signals.closed.wait(LEAVING_S)


def test_leaving_with_answer_bytes_unread_closes_the_body(house: House) -> None:
    """A client which stopped reading blocks the sending; its leaving still ends everything."""

    async def answer(_: Request) -> Answer:
        return house.flow.with_body(*[b"x" * 1_000_000] * 100)

    house.flow.answer = answer
    plug = house.raw(chat_head(len(chat_body())) + chat_body())
    assert house.flow.signals.began.wait(LEAVING_S)
    assert not house.flow.signals.closed.is_set()

    plug.close()

    assert house.flow.signals.closed.wait(LEAVING_S)


def test_leaving_cancels_what_passes_through(house: House) -> None:
    async def reply(_: Call) -> Reply:
        house.teacher.signals.began.set()
        await for_ever()
        raise AssertionError

    house.teacher.reply = reply
    plug = house.raw(b"GET /v1/files HTTP/1.1\r\nhost: x\r\n\r\n")
    assert house.teacher.signals.began.wait(LEAVING_S)

    plug.close()

    assert house.teacher.signals.cancelled.wait(LEAVING_S)


def test_leaving_during_an_upload_cancels_the_call(house: House) -> None:
    async def reply(call: Call) -> Reply:
        assert not isinstance(call.body, bytes)
        async for _ in call.body:
            house.teacher.signals.began.set()
        raise AssertionError

    house.teacher.reply = reply
    plug = house.raw(b"POST /v1/files HTTP/1.1\r\nhost: x\r\ncontent-length: 500\r\n\r\nabc")
    assert house.teacher.signals.began.wait(LEAVING_S)

    plug.close()

    assert house.teacher.signals.cancelled.wait(LEAVING_S)


def test_a_finished_answer_is_closed_in_peace(house: House) -> None:
    """The server's "disconnect" after the last byte does not cancel the body's own ending."""
    ended = house.flow.signals.cancelled

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

    house.flow.answer = answer

    assert house.chat().status == 200
    assert ended.wait(LEAVING_S)


def test_a_thousand_leavers_leave_room_for_the_next(house: House) -> None:
    async def answer(_: Request) -> Answer:
        await for_ever()
        raise AssertionError

    house.flow.answer = answer
    body = chat_body()
    for _ in range(1000):
        house.raw(chat_head(len(body)) + body).close()
    house.flow.answer = house.flow.plain

    assert house.chat().status == 200
