"""Noticing that a teacher has stopped answering, long before calls reach their time-out."""

from __future__ import annotations

import asyncio

from gateway.errors import UpstreamTimeoutError
from gateway.upstream.base import Call, Reply
from gateway.upstream.guarded import GuardedTeacher


class StallWatch:
    """Asks one teacher of several on behalf of calls that another could answer.

    A call that has waited `after_s`, in which nothing else was answered either, has the teacher checked. One
    that is only slow, as reasoning models are, passes the check and is waited for. One that does not answer
    the check is left by all that wait for it.
    """

    def __init__(self, teacher: GuardedTeacher, after_s: float) -> None:
        self._teacher = teacher
        self._after_s = after_s
        self._answers = 0
        self._waiting: set[asyncio.Timeout] = set()
        self._check: asyncio.Task[None] | None = None

    async def ask(self, call: Call) -> Reply:
        """Return the teacher's reply. Raises UpstreamError, UpstreamTimeoutError also if it has stalled."""
        wait = _Wait(self)
        try:
            async with asyncio.timeout(None) as patience:
                self._waiting.add(patience)
                try:
                    reply = await self._teacher.ask(call, has_fallback=True)
                finally:
                    self._waiting.discard(patience)
        except TimeoutError as exc:
            raise UpstreamTimeoutError("the teacher has stopped answering") from exc
        except UpstreamTimeoutError:
            if wait.has_seen_nothing:
                # A whole time-out without one answer: four more would not say more.
                self._teacher.give_up()
            raise
        finally:
            wait.end()
        self._answers += 1
        return reply

    @property
    def answers(self) -> int:
        """How many calls were answered."""
        return self._answers

    @property
    def after_s(self) -> float:
        """How long a silence is no stall."""
        return self._after_s

    def suspect(self) -> None:
        """Check the teacher beside the calls, unless it is being checked."""
        if self._check is None:
            self._check = asyncio.create_task(self._leave_unless_well())
            self._check.add_done_callback(self._end_check)

    def _end_check(self, _: asyncio.Task[None]) -> None:
        self._check = None

    async def _leave_unless_well(self) -> None:
        answers = self._answers
        if await self._teacher.is_well() or self._answers != answers:
            return
        self._teacher.give_up(len(self._waiting))
        now = asyncio.get_running_loop().time()
        for patience in self._waiting:
            patience.reschedule(now)

    async def close(self) -> None:
        """End a check that is under way."""
        if self._check:
            self._check.cancel()


class _Wait:
    """One call's wait: after each silence the teacher is suspected."""

    def __init__(self, watch: StallWatch) -> None:
        self._watch = watch
        self._seen = self._begun_with = watch.answers
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(watch.after_s, self._ring)

    @property
    def has_seen_nothing(self) -> bool:
        """Whether no call was answered since this one began."""
        return self._watch.answers == self._begun_with

    def end(self) -> None:
        """Suspect no more."""
        self._timer.cancel()

    def _ring(self) -> None:
        if self._watch.answers == self._seen:
            self._watch.suspect()
        self._seen = self._watch.answers
        self._timer = self._loop.call_later(self._watch.after_s, self._ring)
