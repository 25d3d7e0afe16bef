"""One teacher that gets no more calls at once than it may have."""

from __future__ import annotations

import msgspec

from gateway.errors import UpstreamError, UpstreamTimeoutError
from gateway.upstream.base import Call, Config, Reply, Teacher
from gateway.upstream.concurrency import ConcurrencyLimit, CountedBody
from gateway.upstream.guarded import GuardedTeacher
from gateway.upstream.retry import Attempt

_OVERLOADED = frozenset({429, 503, 529})


class LimitedTeacher(GuardedTeacher):
    """A GuardedTeacher whose calls wait for a place, which they keep to the end of their answers."""

    def __init__(self, provider: Teacher, config: Config, *, name: str = "teacher") -> None:
        super().__init__(provider, config, name=name)
        self.limit = ConcurrencyLimit(
            config.max_in_flight, adapts=config.adapts_in_flight, wait_s=config.queue_timeout_s
        )

    async def ask(self, call: Call, *, has_fallback: bool = False) -> Reply:
        """See GuardedTeacher. Raises UpstreamBusyError without a place; with a fallback it waits for none."""
        limit = self.limit
        await limit.acquire(may_wait=not has_fallback)
        try:
            reply = await super().ask(call, has_fallback=has_fallback)
        except BaseException:
            limit.release()
            raise
        if reply.status not in _OVERLOADED:
            limit.note_answer(is_overloaded=False)
        if reply.link is not None:
            # A tunnel may stay for days, and is no call any more.
            limit.release()
            return reply
        return msgspec.structs.replace(reply, body=CountedBody(reply.body, limit.release))

    def _note(self, attempt: Attempt, openings: int) -> None:
        super()._note(attempt, openings)
        # Of each attempt: a retry that succeeds does not undo that the call before it was one too many.
        if _is_overload(attempt):
            self.limit.note_answer(is_overloaded=True)

    def describe_health(self) -> dict[str, object]:
        """Return what the status report says of it."""
        limit = self.limit
        places = {"in_flight": limit.in_flight, "limit": int(limit.limit), "queued": limit.waiting}
        return super().describe_health() | places


def _is_overload(attempt: Attempt) -> bool:
    if isinstance(attempt, UpstreamError):
        return isinstance(attempt, UpstreamTimeoutError)
    return attempt.status in _OVERLOADED
