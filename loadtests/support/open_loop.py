"""Offers requests at a rate that does not depend on the answers, from a process of its own."""

from __future__ import annotations

import asyncio
import gc
import itertools
import time
from collections import deque
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import cast

import msgspec
import uvloop

TICK_S = 0.001
GRACE_S = 1.0
CONNECT_AT_ONCE = 50


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """Requests to 127.0.0.1 over `width` kept connections; without `per_s` as fast as they are answered.

    `requests` are sent in turn, from the first again after the last.
    """

    port: int
    requests: list[bytes]
    width: int
    seconds: float
    per_s: float | None = None


class Offered(msgspec.Struct, kw_only=True):
    """The answers, and what the generator itself did."""

    good: int = 0
    good_ms: list[float] = []
    shed_ms: list[float] = []
    """Of answers with 429 and 503."""
    failed: dict[str, int] = {}
    """Other statuses, and connections that ended."""
    sent: int = 0
    missed: int = 0
    """Requests that were due while every connection was busy: not offered."""
    cpu_s: float = 0.0

    def count_failure(self, what: str) -> None:
        """Count one request that was neither answered nor shed."""
        self.failed[what] = self.failed.get(what, 0) + 1


async def offer_elsewhere(offer: Offer) -> Offered:
    """Return the answers to `offer`, made by another process that does not share this one's event loop."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return await asyncio.get_running_loop().run_in_executor(pool, _run, offer)


def _run(offer: Offer) -> Offered:
    # What it keeps are numbers: a collection would only be a pause in the offering.
    gc.disable()
    return uvloop.run(_perform(offer))


async def _perform(offer: Offer) -> Offered:
    state = _State(offer)
    loop = asyncio.get_running_loop()
    for begun in range(0, offer.width, CONNECT_AT_ONCE):
        count = min(CONNECT_AT_ONCE, offer.width - begun)
        await asyncio.gather(*(state.connect(loop) for _ in range(count)))
    used = time.process_time()
    state.start(loop)
    await asyncio.sleep(offer.seconds)
    state.is_over = True
    await asyncio.sleep(GRACE_S)
    state.result.cpu_s = time.process_time() - used
    return state.result


class _State:
    """The run of one offer."""

    def __init__(self, offer: Offer) -> None:
        self.offer = offer
        self.result = Offered()
        self.requests = itertools.cycle(offer.requests)
        self.idle: deque[_Client] = deque()
        self.is_over = False

    async def connect(self, loop: asyncio.AbstractEventLoop) -> None:
        """Open one more connection."""
        await loop.create_connection(lambda: _Client(self), "127.0.0.1", self.offer.port)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to send."""
        self._began = time.perf_counter()
        if self.offer.per_s is None:
            while self.idle:
                self.idle.popleft().send()
        else:
            self._tick(loop, self.offer.per_s)

    def _tick(self, loop: asyncio.AbstractEventLoop, per_s: float) -> None:
        if self.is_over:
            return
        done = self.result.sent + self.result.missed
        for _ in range(int((time.perf_counter() - self._began) * per_s) - done):
            if self.idle:
                self.idle.popleft().send()
            else:
                self.result.missed += 1
        loop.call_later(TICK_S, self._tick, loop, per_s)


class _Client(asyncio.Protocol):
    """One connection with at most one request on its way."""

    def __init__(self, state: _State) -> None:
        self._state = state
        self._answer = b""
        self._is_busy = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not subclass asyncio.Transport.
        self._transport = cast(asyncio.Transport, transport)
        self._state.idle.append(self)

    def send(self) -> None:
        """Send the request."""
        self._state.result.sent += 1
        self._is_busy = True
        self._sent_at = time.perf_counter()
        self._transport.write(next(self._state.requests))

    def data_received(self, data: bytes) -> None:
        answer = self._answer + data if self._answer else data
        if not _is_whole(answer):
            self._answer = answer
            return
        self._answer = b""
        self._is_busy = False
        self._count(answer[9:12])
        state = self._state
        if state.offer.per_s is None and not state.is_over:
            self.send()
        else:
            state.idle.append(self)

    def connection_lost(self, exc: Exception | None) -> None:
        state = self._state
        if self._is_busy:
            state.result.count_failure("lost")
        else:
            state.idle.remove(self)
        if not state.is_over:
            loop = asyncio.get_running_loop()
            self._again = loop.create_task(state.connect(loop))

    def _count(self, status: bytes) -> None:
        result = self._state.result
        took_ms = (time.perf_counter() - self._sent_at) * 1000
        if status == b"200":
            result.good_ms.append(took_ms)
            result.good += not self._state.is_over
        elif status in (b"429", b"503"):
            result.shed_ms.append(took_ms)
        else:
            result.count_failure(status.decode("latin-1"))


def _is_whole(answer: bytes) -> bool:
    end = answer.find(b"\r\n\r\n")
    if end < 0:
        return False
    at = answer.find(b"content-length: ", 0, end + 2)
    if at < 0:
        return answer.endswith(b"0\r\n\r\n")
    length = int(answer[at + 16 : answer.index(b"\r", at)])
    return len(answer) >= end + 4 + length
