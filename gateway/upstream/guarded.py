"""One teacher behind its retry budget and its circuit breaker, whatever its provider."""

from __future__ import annotations

import asyncio
import random
from datetime import date
from typing import Self

from gateway.core import Body
from gateway.errors import UpstreamBusyError, UpstreamError
from gateway.upstream.base import Call, Config, Reply, Teacher
from gateway.upstream.circuit import Circuit
from gateway.upstream.concurrency import ConcurrencyLimit
from gateway.upstream.retry import Attempt, asked_wait, retry_failed
from gateway.upstream.retry_budget import RetryBudget

_CHECK = Call(method="GET", target=b"/v1/models", headers=())
CHECK_TIMEOUT_S = 3.0


class GuardedTeacher:
    """Implements Teacher with retries before the first byte, of which an open circuit allows none.

    An open circuit refuses nothing here: where there is no other teacher, a call that may fail is better
    than one that surely does. FallbackTeacher asks others while it is open.
    """

    def __init__(self, provider: Teacher, config: Config, *, name: str = "teacher") -> None:
        self.name = name
        self.circuit = Circuit()
        self.requests = self.failures = self.retries = 0
        self.retirements: dict[str, date] = {}
        """The last days of its models, as far as they are known."""
        self.limit: ConcurrencyLimit | None = None
        """How many calls it gets at once, where that is limited."""
        self._provider = self._again = self._checked = provider
        self._config = config
        self._budget = RetryBudget()
        # A limit of the client's own credential says nothing of the teacher.
        self._counts_limits = config.api_key is not None

    async def ask(self, call: Call, *, has_fallback: bool = False) -> Reply:
        """See upstream.base.Teacher; with a fallback, what another teacher may answer is not waited for."""
        openings = self.circuit.openings
        self.requests += 1
        self._budget.note_request()
        try:
            reply = await self._provider.ask(call)
        except UpstreamBusyError:
            # It was not asked: that says nothing of its health.
            raise
        except UpstreamError as exc:
            attempt: Attempt = exc
        else:
            if reply.status < 400:
                self.circuit.note_success(openings)
                return reply
            attempt = reply
        self._note(attempt, openings)
        return await retry_failed(
            attempt,
            self._ask_again,
            call,
            self._config,
            take_retry=self._take_retry,
            has_fallback=has_fallback,
            random=random.random,
            sleep=asyncio.sleep,
        )

    @property
    def openings(self) -> int:
        """How often its circuit has opened."""
        return self.circuit.openings

    @property
    def is_out(self) -> bool:
        """Whether its circuit is not closed."""
        return self.circuit.is_open

    async def check(self) -> None:
        """Ask for the list of models, while no client waits, and tell the circuit."""
        self.circuit.note_check(is_well=await self.is_well())

    async def is_well(self) -> bool:
        """Whether it gives its list of models in time."""
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_S):
                reply = await self._checked.ask(_CHECK)
                await reply.body.aclose()
        except (UpstreamError, TimeoutError):
            return False
        return not self._is_failure(reply)

    def give_up(self, calls: int = 0) -> None:
        """Open the circuit at once; `calls` that were waiting for it have failed."""
        self.failures += calls
        self.circuit.trip()

    def note_end(self, *, is_whole: bool) -> None:
        """Note how the body of one of its answers ended."""
        self.failures += not is_whole
        self.circuit.note_end(is_whole=is_whole)

    async def close(self) -> None:
        """Close every connection."""
        await self._provider.close()

    async def _ask_again(self, call: Call) -> Attempt:
        openings = self.circuit.openings
        self.retries += 1
        try:
            attempt: Attempt = await self._again.ask(call)
        except UpstreamBusyError as exc:
            return exc
        except UpstreamError as exc:
            attempt = exc
        self._note(attempt, openings)
        return attempt

    def _take_retry(self) -> bool:
        return not self.circuit.is_open and self._budget.take_retry()

    def _note(self, attempt: Attempt, openings: int) -> None:
        if self._is_failure(attempt):
            self.failures += 1
            self.circuit.note_failure(openings, asked_wait(attempt) or 0.0)
        else:
            self.circuit.note_success(openings)

    def _is_failure(self, attempt: Attempt) -> bool:
        if isinstance(attempt, UpstreamError):
            return True
        return attempt.status >= 500 or (attempt.status == 429 and self._counts_limits)


class JudgedBody:
    """The body of an answer, whose end its teacher is judged by: some give heads alone."""

    def __init__(self, body: Body, teacher: GuardedTeacher) -> None:
        self._body = body
        self._teacher = teacher

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await anext(self._body)
        except StopAsyncIteration:
            self._teacher.note_end(is_whole=True)
            raise
        except UpstreamError:
            self._teacher.note_end(is_whole=False)
            raise

    async def aclose(self) -> None:
        """Close the body, which says nothing of the teacher."""
        await self._body.aclose()
