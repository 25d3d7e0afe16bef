"""A silent teacher's stream gets comments between its events, and keeps everything else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.cascade.keepalive import COMMENT, KeepaliveBody
from gateway.core.stopping import cancel_to_stop, take_back_stop
from gateway.errors import UpstreamError


class Teacher:
    """A body that gives an event whenever it is told to, and says how it was left."""

    def __init__(self) -> None:
        self.events: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()
        self.is_closed = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            event = await self.events.get()
        except asyncio.CancelledError as exc:
            if not take_back_stop(exc):
                raise
            return b"data: error\n\n"
        if isinstance(event, Exception):
            raise event
        if event is None:
            raise StopAsyncIteration
        return event

    async def aclose(self) -> None:
        self.is_closed = True


async def test_each_silence_gets_a_comment_and_no_event_is_lost() -> None:
    teacher = Teacher()
    body = KeepaliveBody(teacher, 0.01)
    assert [await anext(body), await anext(body)] == [COMMENT, COMMENT]

    for event in (b"data: 1\n\n", b"data: 2\n\n", None):
        teacher.events.put_nowait(event)

    assert [each async for each in body if each != COMMENT] == [b"data: 1\n\n", b"data: 2\n\n"]


async def test_a_broken_stream_is_still_an_error() -> None:
    teacher = Teacher()
    teacher.events.put_nowait(UpstreamError("reset"))

    with pytest.raises(UpstreamError, match="reset"):
        await anext(KeepaliveBody(teacher, 60))


async def test_a_client_that_leaves_ends_the_reading() -> None:
    teacher = Teacher()
    body = KeepaliveBody(teacher, 60)
    reading = asyncio.ensure_future(body.__anext__())
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading

    await body.aclose()

    assert teacher.is_closed
    assert len(asyncio.all_tasks()) == 1


async def test_a_gateway_that_stops_still_lets_the_stream_say_so() -> None:
    body = KeepaliveBody(Teacher(), 60)

    async def read() -> None:
        assert await anext(body) == b"data: error\n\n"

    reading = asyncio.create_task(read())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    cancel_to_stop(reading)

    await reading
