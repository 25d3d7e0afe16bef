"""How long a reply may be silent: any byte counts, however long the whole takes."""

from __future__ import annotations

import asyncio
import math

from gateway.upstream.response import Response

IDLE_S = 600.0
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


class Connection:
    """A connection with a clock of its own: it fails the reply when its deadline is over."""

    def __init__(self) -> None:
        self.now = 0.0
        self.deadline = math.inf
        self.is_broken = False

    def expect_within(self, seconds: float) -> None:
        self.deadline = self.now + seconds

    def hold_back(self, *, is_held: bool) -> None:
        pass

    def finished(self, *, keeps_open: bool) -> None:
        pass

    def close(self) -> None:
        self.is_broken = True

    def pass_time(self, seconds: float) -> None:
        """Let time pass without a byte."""
        self.now += seconds
        self.is_broken |= self.now >= self.deadline


async def test_a_model_that_thinks_for_nine_minutes_at_a_time_is_heard_to_its_end() -> None:
    connection = Connection()
    response = Response(connection, is_head=False, may_switch=False)
    response.idle_s = IDLE_S
    response.feed(HEAD)
    events = []
    for piece in (b"data: 1\n\n", b": thinking\n\n", b"data: 2\n\n"):
        reading = asyncio.ensure_future(response.__anext__())
        await asyncio.sleep(0)
        connection.pass_time(9 * 60)
        assert not connection.is_broken
        response.feed(b"%x\r\n%b\r\n" % (len(piece), piece))
        events.append(await reading)
    response.feed(b"0\r\n\r\n")

    assert [*events, *[piece async for piece in response]] == [
        b"data: 1\n\n",
        b": thinking\n\n",
        b"data: 2\n\n",
    ]


async def test_eleven_minutes_are_too_long() -> None:
    connection = Connection()
    response = Response(connection, is_head=False, may_switch=False)
    response.idle_s = IDLE_S
    response.feed(HEAD)
    reading = asyncio.ensure_future(response.__anext__())
    await asyncio.sleep(0)

    connection.pass_time(11 * 60)

    assert connection.is_broken
    reading.cancel()
