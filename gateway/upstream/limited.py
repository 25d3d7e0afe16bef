"""One teacher that gets no more calls at once than it may have."""

from __future__ import annotations

import msgspec

from gateway.errors import UpstreamTimeoutError
from gateway.upstream.base import Call, Config, Reply, Teacher
from gateway.upstream.concurrency import ConcurrencyLimit, CountedBody
from gateway.upstream.guarded import GuardedTeacher
from gateway.upstream.retry import is_overload


class LimitedTeacher(GuardedTeacher):
    """A GuardedTeacher whose calls wait for a place, which they keep to the end of their answers.

    A call that waits to be sent again holds none, and then is the first to get one.
    """

    limit: ConcurrencyLimit

    def __init__(self, provider: Teacher, config: Config, *, name: str = "teacher") -> None:
        super().__init__(provider, config, name=name)
        self.limit = ConcurrencyLimit(
            config.max_in_flight, adapts=config.adapts_in_flight, wait_s=config.queue_timeout_s
        )
        self._provider = _LimitedProvider(provider, self.limit)
        self._again = _LimitedProvider(provider, self.limit, is_first=True)

    async def ask(self, call: Call, *, has_fallback: bool = False) -> Reply:
        """See GuardedTeacher. Raises UpstreamBusyError without a place; with a fallback it waits for none."""
        if has_fallback:
            self.limit.require_place()
        return await super().ask(call, has_fallback=has_fallback)


class _LimitedProvider:
    """Asks once there is a place, and tells `limit` how each call ends.

    So it knows of retries, too: a success does not undo that the call before it was too much.
    """

    def __init__(self, provider: Teacher, limit: ConcurrencyLimit, *, is_first: bool = False) -> None:
        self._provider = provider
        self._limit = limit
        self._is_first = is_first

    async def ask(self, call: Call) -> Reply:
        """See upstream.base.Teacher. Raises UpstreamBusyError if there is no place in time."""
        limit = self._limit
        await limit.acquire(is_first=self._is_first)
        decreases = limit.decreases
        try:
            reply = await self._provider.ask(call)
        except BaseException as exc:
            if isinstance(exc, UpstreamTimeoutError):
                limit.note_overload(decreases)
            limit.release()
            raise
        if is_overload(reply):
            limit.note_overload(decreases)
        else:
            limit.note_answer()
        if reply.link is not None:
            # A tunnel may stay for days, and is no call any more.
            limit.release()
            return reply
        return msgspec.structs.replace(reply, body=CountedBody(reply.body, limit.release))

    async def close(self) -> None:
        """Close every connection."""
        await self._provider.close()
