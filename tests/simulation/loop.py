"""An asyncio event loop in virtual time, whose order of things is drawn from a seed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any, TypeVar

Result = TypeVar("Result")

# A program that spins without letting time pass would never end.
MOST_TURNS = 200_000
BEGINS_AT = 1_000.0


class StalledError(Exception):
    """Tasks wait for something that can never happen, or time stands still."""


class _NoSelector:
    """Stands where sockets are waited for: there are none, so it lets the time pass instead."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        self._loop.turn(timeout)
        return []


class SimulatedLoop(asyncio.BaseEventLoop):
    """Runs what is ready in an order drawn from `choices`; when nothing is, jumps to the next timer.

    asyncio promises callbacks the order in which they were scheduled, and nothing to tasks that wait for
    different things. So half of the seeds keep its order, and the others mix what is ready in one turn.
    What goes to a thread runs at once, and its result arrives after a delay from the seed.
    """

    def __init__(self, choices: random.Random) -> None:
        super().__init__()
        self._choices = choices
        self._now = BEGINS_AT
        self._turns = 0
        self._mixes = choices.random() < 0.5
        self._selector = _NoSelector(self)
        # Due times are sums of floats: the standard resolution would be zero here.
        self._clock_resolution = 1e-9

    def time(self) -> float:
        """Return the virtual time, in seconds."""
        return self._now

    def turn(self, timeout: float | None) -> None:
        """Let `timeout` seconds pass; called once per turn, before what is due then is run."""
        self._turns += 1
        if timeout is None:
            raise StalledError("nothing is left that could happen, and something is waited for")
        if self._turns > MOST_TURNS:
            raise StalledError(f"{MOST_TURNS} turns of the loop: something spins")
        self._now += timeout
        if self._mixes and len(self._ready) > 1:  # type: ignore[attr-defined]
            self._choices.shuffle(ready := list(self._ready))  # type: ignore[attr-defined]
            self._ready.clear()  # type: ignore[attr-defined]
            self._ready.extend(ready)  # type: ignore[attr-defined]

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Result], *args: Any
    ) -> asyncio.Future[Result]:
        """Call `func` now; its result is there later."""
        future: asyncio.Future[Result] = self.create_future()
        try:
            result = func(*args)
        except Exception as exc:
            self.call_later(self._choices.random() * 0.01, _settle, future, None, exc)
        else:
            self.call_later(self._choices.random() * 0.01, _settle, future, result, None)
        return future

    def _process_events(self, event_list: object) -> None:
        """Do nothing: there are no sockets."""

    def _write_to_self(self) -> None:
        """Do nothing: no other thread wakes this loop."""


def _settle(future: asyncio.Future[Any], result: Any, error: Exception | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
