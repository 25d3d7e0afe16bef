"""From an app's complaint to the row of the local answer that it speaks of, for reviewers."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

from gateway.harvest.base import Sink
from gateway.harvest.gather import local_row_of
from gateway.harvest.recent_answers import RecentAnswers
from gateway.processes.loops import Loops
from gateway.store.reviews import Feedback, ReviewStore

LOOK_EVERY_S = 0.5
WAIT_S = 10.0
"""A complaint may come before the Outcome of its request, which waits in a queue, or for a stream's end."""
MOST_WAITING = 10_000


class ComplaintWatch:
    """Harvests the local answers of this worker that apps complain of, whichever worker took the complaint.

    Of another caller than the one that asked, nothing is harvested: nobody has a say of others' requests.
    """

    def __init__(
        self,
        reviews: ReviewStore,
        recent: RecentAnswers,
        sink: Sink,
        *,
        user_key: bytes = b"",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reviews = reviews
        self._recent = recent
        self._sink = sink
        self._user_key = user_key
        self._clock = clock
        self._seen: int | None = None
        self._forgets = 0
        self._waiting: deque[tuple[float, Feedback]] = deque(maxlen=MOST_WAITING)
        """Each with the time until which its answer may come."""
        self._loops = Loops()

    def start(self) -> None:
        """Begin; call it in the loop that serves."""
        self._loops.start(self._look, LOOK_EVERY_S)

    async def stop(self) -> None:
        """Look no more."""
        await self._loops.stop()

    def look(self) -> None:
        """Harvest what new complaints speak of; may block. Raises sqlite3.Error."""
        if self._seen is None:
            # What was said before this worker began is of no answer of its own.
            self._seen, self._forgets = self._reviews.last_feedback(), self._reviews.forgets()
        if (forgets := self._reviews.forgets()) != self._forgets:
            # Of whom is not told: it would have to be kept.
            self._recent.forget_all()
            self._waiting.clear()
            self._forgets = forgets
        self._recent.forget_old()
        now = self._clock()
        for number, feedback in self._reviews.feedback_after(self._seen):
            self._seen = number
            if feedback.is_complaint:
                self._waiting.append((now + WAIT_S, feedback))
        for _ in range(len(self._waiting)):
            until, complaint = self._waiting.popleft()
            if not self._harvest(complaint) and now < until:
                self._waiting.append((until, complaint))

    async def _look(self) -> None:
        await asyncio.to_thread(self.look)

    def _harvest(self, complaint: Feedback) -> bool:
        """Return whether nothing is left to do for `complaint`."""
        found = self._recent.find(complaint.request_id, complaint.tenant, complaint.caller)
        if found is None:
            return False
        row = local_row_of(found, user_key=self._user_key)
        if row is not None and not self._sink.put(row):
            return False
        # Once: further complaints of it find the row.
        self._recent.forget(complaint.request_id)
        return True
