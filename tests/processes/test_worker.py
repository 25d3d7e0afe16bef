"""When a worker listens: a machine among several does not before its specialists are loaded."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import cast

import pytest

from gateway.errors import ConfigError
from gateway.processes.drain import Drain
from gateway.processes.following import Following
from gateway.processes.http_server import open_listeners
from gateway.processes.worker import may_listen
from tests.support.waiting import PATIENCE_S


@pytest.fixture
def bound() -> Iterator[socket.socket]:
    """A socket as the supervisor of a machine among several gives it to a worker."""
    with _bind(0) as bound:
        yield bound


def _bind(port: int) -> socket.socket:
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(("127.0.0.1", port))
    return bound


def never_warm() -> Following:
    """Return what a worker follows whose specialists are never loaded."""
    return cast(Following, SimpleNamespace(wait_until_warm=asyncio.Event().wait))


async def test_it_waits_for_its_specialists(bound: socket.socket) -> None:
    warm = asyncio.Event()
    following = cast(Following, SimpleNamespace(wait_until_warm=warm.wait))
    asking = asyncio.create_task(may_listen(bound.fileno(), following, Drain(5.0, 20.0)))
    await asyncio.sleep(0)
    assert not asking.done()

    warm.set()
    assert await asyncio.wait_for(asking, PATIENCE_S)


async def test_asked_to_end_meanwhile_it_never_listens(bound: socket.socket) -> None:
    drain = Drain(5.0, 20.0)
    asking = asyncio.create_task(may_listen(bound.fileno(), never_warm(), drain))
    drain.begin()

    assert not await asyncio.wait_for(asking, PATIENCE_S)


async def test_in_place_of_a_worker_that_died_it_listens_at_once(bound: socket.socket) -> None:
    """Its connections are in the queue of that socket, and no balancer gives them to another machine."""
    bound.listen()

    assert await asyncio.wait_for(may_listen(bound.fileno(), never_warm(), Drain(5.0, 20.0)), PATIENCE_S)


def test_a_port_that_another_program_took_meanwhile_is_an_error(bound: socket.socket) -> None:
    """Two may bind a port while neither listens; the second to listen would wait for nothing."""
    port = bound.getsockname()[1]
    with _bind(port) as other:
        other.listen()

        with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1 port {port}"):
            open_listeners(bound.detach())
