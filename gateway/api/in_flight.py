"""How many requests a worker has in work at once: as many as it can do, shared fairly between callers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from gateway.core import Header
from gateway.errors import RateLimitedError, RequestError
from gateway.ipc.core_wait import read_core_wait_s

# Work of so few never waits long; below it nothing is measured.
FEWEST = 16
TICK_S = 0.02
# A turn of the event loop that is late by more means that answers already wait for each other.
LATE_S = 0.01
# One late turn is a collection of garbage or a large body, and no reason to refuse anything.
LATE_TURNS = 3
LATE_FOR_S = 0.1
# While requests are refused, each late turn counts, and a shorter one: a refusal waits two turns.
LATE_WHEN_LOWERED_S = 0.005
# The share of the limit that callers below their fair share find free, whatever one caller sends.
KEPT_SHARE = 0.25
RETRY_S = 1.0


class Slot:
    """The place of one request; `close` it when its answer has been sent."""

    def __init__(self, in_flight: InFlight, caller: str) -> None:
        self._in_flight = in_flight
        self._caller = caller
        self._is_open = True

    def close(self) -> None:
        """Free the place; later calls do nothing."""
        if self._is_open:
            self._is_open = False
            self._in_flight.leave(self._caller)


class InFlight:
    """Counts the requests in work of one worker, in its event loop.

    The limit is `most` while the loop keeps up, as for answers that wait for a teacher. When turns have been
    late for a while, each lowers it below what is in work, and each one in time raises it again: so the CPU
    is not asked for more than it has, and what is refused is refused at once, not after a wait in a queue.
    """

    def __init__(self, most: int, *, is_shared: bool = True) -> None:
        self._most = most
        self._is_shared = is_shared
        self._limit = float(most)
        self._by_caller: dict[str, int] = {}
        self._greedy: set[bytes] = set()
        self._due = self._core_wait_s = 0.0
        self._late_turns = 0
        self._late_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._let_in = 0
        self.entered = 0

    @property
    def limit(self) -> int:
        """How many requests may be in work now."""
        return int(self._limit)

    @property
    def is_tight(self) -> bool:
        """Whether requests are refused now, or may be before the event loop has had its turn."""
        return self._limit < self._most or self.entered >= self._limit or bool(self._greedy)

    @property
    def asks_who(self) -> bool:
        """Whether some callers are refused and others are not."""
        return bool(self._greedy)

    def is_refused(self, authorization: bytes) -> bool:
        """Return whether a request need not even be looked at; the edge asks before any other work."""
        if self.entered + self._let_in >= self._limit:
            return True
        return bool(self._greedy) and authorization in self._greedy

    def let_in(self) -> None:
        """Count a request that the edge passes on, until the loop's turn in which it enters.

        Else all that arrive together would find the same last place, and be refused after their work.
        """
        if not self._let_in:
            # Before the task of the first one, and so before any of them enters.
            asyncio.get_running_loop().call_soon(self._forget_let_in)
        self._let_in += 1

    def enter(self, caller: str, headers: Iterable[Header] = ()) -> Slot:
        """Return a place for a request of `caller`.

        Raises RequestError (503) if `most` are taken, RateLimitedError if the caller has its share and little
        is left for others; for the moment, the credential in its `headers` is then refused by `is_refused`.
        A limit that was lowered since the edge let the request in does not refuse it: its work is half done.
        """
        if self.entered >= self._most:
            raise overloaded()
        mine = self._by_caller.get(caller, 0)
        if self._is_shared and self.entered >= self._limit * (1 - KEPT_SHARE):
            # One more than there are, because a newcomer must find its share free.
            callers = len(self._by_caller) + (mine == 0) + 1
            if mine >= max(1.0, self._limit / callers):
                self._greedy.add(find_credential(headers))
                self._start_timer()
                raise RateLimitedError(
                    "The gateway is busy, and you have your share of it in work. Please try again in 1s.",
                    retry_after_s=RETRY_S,
                )
        self._by_caller[caller] = mine + 1
        self.entered += 1
        if self.entered > FEWEST:
            self._start_timer()
        return Slot(self, caller)

    def leave(self, caller: str) -> None:
        """Free one place of `caller`."""
        self.entered -= 1
        left = self._by_caller[caller] - 1
        if left:
            self._by_caller[caller] = left
        else:
            del self._by_caller[caller]

    def adapt(self, late_s: float, core_wait_s: float = 0.0) -> None:
        """Move the limit after a turn of the loop that was `late_s` late, and has waited for a core so long.

        That wait is not counted: it is the same however few requests are in work, so that clients would get
        503 from a worker that keeps up with them.
        """
        late_s -= core_wait_s
        is_lowered = self._limit < self._most
        if late_s <= (LATE_WHEN_LOWERED_S if is_lowered else LATE_S):
            self._late_turns, self._late_s = 0, 0.0
            self._limit = min(self._most, self._limit * 1.03 + 1)
            return
        self._late_turns += 1
        self._late_s += late_s
        if is_lowered or (self._late_turns >= LATE_TURNS and self._late_s >= LATE_FOR_S):
            lowered = max(FEWEST, min(self._limit, self.entered) * 0.8)
            self._limit = min(self._most, lowered)

    def _forget_let_in(self) -> None:
        self._let_in = 0

    def _start_timer(self) -> None:
        if self._timer is None:
            self._await_tick(asyncio.get_running_loop(), read_core_wait_s())

    def _await_tick(self, loop: asyncio.AbstractEventLoop, core_wait_s: float) -> None:
        self._due = loop.time() + TICK_S
        self._core_wait_s = core_wait_s
        self._timer = loop.call_at(self._due, self._tick, loop)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        self._greedy.clear()
        core_wait_s = read_core_wait_s()
        self.adapt(loop.time() - self._due, core_wait_s - self._core_wait_s)
        self._timer = None
        if self.entered > FEWEST or self._limit < self._most:
            self._await_tick(loop, core_wait_s)


def find_credential(headers: Iterable[Header]) -> bytes:
    """Return the Authorization header, empty without one."""
    return next((value for name, value in headers if name == b"authorization"), b"")


def overloaded() -> RequestError:
    """Return the error of a request that finds no place in this worker."""
    return RequestError(
        "The gateway has more work than it can do; try again in a second.",
        status=503,
        code="overloaded",
        kind="server_error",
        headers=((b"retry-after", b"1"), (b"retry-after-ms", b"1000")),
    )
