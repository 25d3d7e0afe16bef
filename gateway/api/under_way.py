"""The work of callers that is under way: its place in their limits, and the way to end it early."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gateway.api.auth import Caller, revoked_key
from gateway.api.in_flight import Slot
from gateway.core import Header
from gateway.errors import RequestError
from gateway.policy.key_limits import Admission
from gateway.store.keys import KeyFacts


class UnderWay:
    """One request or websocket of a caller, in the task that admitted it; `close` it at its end."""

    def __init__(
        self, caller: Caller, admission: Admission | None, open_work: OpenWork, slot: Slot | None = None
    ) -> None:
        self.caller = caller
        self.admission = admission
        self.ended_by: RequestError | None = None
        self.follow: Callable[[KeyFacts], None] | None = None
        """Of what lasts: takes the terms of its key when they have changed."""
        self._key = caller.key
        self._open_work = open_work
        self._slot = slot
        task = asyncio.current_task()
        assert task is not None
        self._task = task

    @property
    def headers(self) -> tuple[Header, ...]:
        """The headers about what is left of the caller's limits; empty without limits."""
        return self.admission.headers() if self.admission else ()

    def end(self, error: RequestError) -> None:
        """Cancel its task; `ended_by` says why."""
        if self.ended_by is None:
            self.ended_by = error
            self._task.cancel()

    def note_key(self, key: KeyFacts) -> None:
        """Tell it what its key may do now."""
        if self.follow and key != self._key:
            self._key = key
            self.follow(key)

    def is_ended(self) -> bool:
        """Return whether a cancellation was `end` alone, and take it back."""
        return self.ended_by is not None and self._task.uncancel() == 0

    def close(self) -> None:
        """Count it as ended; later calls do nothing."""
        self._open_work.forget(self)
        if self.admission:
            self.admission.close()
        if self._slot:
            self._slot.close()


class OpenWork:
    """What each key has under way in this worker, so that it can be ended with the key."""

    def __init__(self) -> None:
        # In the order of their beginning, so that it is also that of their end.
        self._by_hash: dict[str, dict[UnderWay, None]] = {}

    def add(self, work: UnderWay) -> None:
        """Follow `work` until it is closed."""
        self._by_hash.setdefault(work.caller.key_hash, {})[work] = None

    def forget(self, work: UnderWay) -> None:
        """Follow `work` no more; work that is not followed is no error."""
        works = self._by_hash.get(work.caller.key_hash)
        if works is not None:
            works.pop(work, None)
            if not works:
                del self._by_hash[work.caller.key_hash]

    def tell_keys(self, find_key: Callable[[str], KeyFacts | None]) -> None:
        """Tell all work what its key, found by its hash, may do now."""
        for key_hash, works in self._by_hash.items():
            if key := find_key(key_hash):
                for work in works:
                    work.note_key(key)

    def end_invalid(self, is_valid: Callable[[str], bool]) -> int:
        """End the work of every secret, given by its hash, that is not valid any more; return how much."""
        invalid = [works for key_hash, works in self._by_hash.items() if not is_valid(key_hash)]
        ended = [work for works in invalid for work in works]
        for work in ended:
            work.end(revoked_key())
        return len(ended)
