"""How many calls a teacher gets at once, and in which order the others wait."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Self

from gateway.core import Body
from gateway.errors import UpstreamBusyError

# Additive increase, multiplicative decrease, as TCP Reno's: one more per round of `limit` good answers, a
# third less when the teacher says that it is too much. The calls of one round say so once: a decrease is no
# news to calls that began before it. Once a second instead let the limit grow past five times what a teacher
# took that answers in 50 ms, and would have halved that of one that thinks for 10 s again and again.
FIRST_LIMIT = 16.0
DECREASE = 0.7
MOST = 10_000


class ConcurrencyLimit:
    """At most `most` calls at once; with `adapts` fewer, as many as the teacher takes.

    What is over waits, first come first served, for `wait_s` at most. In one event loop.
    """

    def __init__(self, most: int | None, *, adapts: bool, wait_s: float) -> None:
        self.in_flight = 0
        self.decreases = 0
        """How often it has fallen. A call is judged by what this was when the call began."""
        self.limit = float(most or MOST)
        self._most = self.limit
        self._adapts = adapts
        self._wait_s = wait_s
        self._queue: deque[asyncio.Future[None]] = deque()
        if adapts:
            self.limit = min(FIRST_LIMIT, self._most)

    @property
    def waiting(self) -> int:
        """How many calls wait."""
        return sum(not waiter.done() for waiter in self._queue)

    def require_place(self) -> None:
        """Raise UpstreamBusyError unless `acquire` would find a place at once."""
        if not self._has_place():
            raise UpstreamBusyError("the teacher has as many calls as it may have")

    async def acquire(self, *, is_first: bool = False) -> None:
        """Take a place, `is_first` before all that wait. Raises UpstreamBusyError if none comes in time."""
        if self._has_place():
            self.in_flight += 1
            return
        waiter = asyncio.get_running_loop().create_future()
        if is_first:
            self._queue.appendleft(waiter)
        else:
            self._queue.append(waiter)
        try:
            async with asyncio.timeout(self._wait_s):
                await waiter
        except BaseException as exc:
            if waiter.done() and not waiter.cancelled():
                # The place came in the very moment in which it was given up.
                self.release()
            else:
                waiter.cancel()
                # A place that came free in that very moment has found it left, and out of the queue.
                with suppress(ValueError):
                    self._queue.remove(waiter)
            if isinstance(exc, TimeoutError):
                raise UpstreamBusyError("the teacher had no place for the call in time") from exc
            raise

    def release(self) -> None:
        """Give a place back: to the call that has waited longest."""
        self.in_flight -= 1
        self._admit()

    def note_answer(self) -> None:
        """Note that the teacher had room for a call."""
        # A limit that nothing reaches is not tested by these answers.
        if self._adapts and 2 * self.in_flight >= self.limit:
            self.limit = min(self._most, self.limit + 1 / self.limit)
            self._admit()

    def note_overload(self, decreases: int) -> None:
        """Note a call that was too much for the teacher; `decreases` is that of the call's beginning."""
        if self._adapts and decreases == self.decreases:
            self.decreases += 1
            self.limit = max(1.0, self.limit * DECREASE)

    def _has_place(self) -> bool:
        return self.in_flight < int(self.limit) and not self._queue

    def _admit(self) -> None:
        while self._queue and self.in_flight < int(self.limit):
            waiter = self._queue.popleft()
            if not waiter.done():
                self.in_flight += 1
                waiter.set_result(None)


class CountedBody:
    """A body that gives its place back once it is whole, broken or closed."""

    def __init__(self, body: Body, release: Callable[[], None]) -> None:
        self._body = body
        self._release: Callable[[], None] | None = release

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await anext(self._body)
        except BaseException:
            self._give_back()
            raise

    async def aclose(self) -> None:
        """Close the body."""
        self._give_back()
        await self._body.aclose()

    def _give_back(self) -> None:
        release, self._release = self._release, None
        if release:
            release()
