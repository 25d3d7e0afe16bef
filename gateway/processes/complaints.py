"""From an app's complaint to the row of the local answer that it speaks of, for reviewers."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

from gateway.harvest.base import Sink
from gateway.harvest.recent_answers import RecentAnswers
from gateway.processes.loops import Loops
from gateway.store.reviews import Feedback, ReviewStore

LOOK_EVERY_S = 0.5
RECENT_S = 3_600.0
"""Who complains does so within the hour; what was asked longer ago need not lie in memory."""
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
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._reviews = reviews
        self._recent = recent
        self._sink = sink
        self._clock = clock
        self._seen: int | None = None
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
        now = self._clock()
        # Of whom something was forgotten is not kept anywhere: all that came before goes.
        self._recent.forget_before(max(now - RECENT_S, self._reviews.forgot_at()))
        if self._seen is None:
            # What was said before this worker began is of no answer of its own.
            self._seen = self._reviews.last_feedback()
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
        row = self._recent.find(complaint.request_id, complaint.tenant, complaint.caller)
        if row is None or not self._sink.put(row):
            return False
        # Once: further complaints of it find the row.
        self._recent.forget(complaint.request_id)
        return True
