from __future__ import annotations

import asyncio

import pytest

from gateway.errors import SpecialistError
from gateway.specialists.line import Line
from gateway.specialists.protocol import Ping


async def test_a_line_without_a_connection_is_down() -> None:
    with pytest.raises(SpecialistError, match="host down"):
        await Line(asyncio.get_running_loop()).ask(Ping(1), 10)


async def test_waiting_for_the_loss_can_be_cancelled_at_the_very_moment_of_the_loss() -> None:
    """Otherwise a gateway which stops together with its host would wait for ever."""
    line = Line(asyncio.get_running_loop())
    waiting = asyncio.create_task(line.is_lost_within(10))
    await asyncio.sleep(0)

    line.connection_lost(None)
    waiting.cancel()

    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(waiting, 5)
