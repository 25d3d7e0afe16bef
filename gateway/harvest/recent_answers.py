"""The newest answers of specialists, in memory alone, until an app complains of one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import msgspec

from gateway.core import Draft, Outcome, Reading
from gateway.harvest.gather import may_be_kept

RECENT_S = 3_600.0
"""Who complains does so within the hour; what was asked longer ago need not lie in memory."""
OVERHEAD_BYTES = 4_096
"""Of an answer beside its texts: measured at 2.5 KB, and at 4 KB with several messages."""


class RecentAnswers:
    """An observer that remembers what specialists answered, the newest `max_bytes` of it. Never blocks.

    What may not be harvested is never remembered. Threads may share it.
    """

    def __init__(
        self, max_bytes: int, max_age_s: float = RECENT_S, clock: Callable[[], float] = time.time
    ) -> None:
        self.size_bytes = 0
        self._max_bytes = max_bytes
        self._max_age_s = max_age_s
        self._clock = clock
        self._lock = threading.Lock()
        self._answers: dict[str, Outcome] = {}
        """By request id, the oldest first."""

    def __call__(self, outcome: Outcome, reading: Reading) -> None:
        """Remember `outcome` if a specialist answered it to the end."""
        draft = outcome.draft
        if outcome.decision != "local" or draft is None or not may_be_kept(outcome):
            return
        # What a coin drew as evidence is never trained on, not even in a reviewer's words.
        if not outcome.is_complete or outcome.is_held_out:
            return
        kept = _reduce(outcome, draft, draft.text if draft.stream is None else reading.text or "")
        with self._lock:
            self._remove(kept.request.id)
            self._answers[kept.request.id] = kept
            self.size_bytes += _measure(kept)
            while self.size_bytes > self._max_bytes:
                self._remove(next(iter(self._answers)))

    def find(self, request_id: str, tenant: str, caller: str) -> Outcome | None:
        """Return the answer to a request of that caller, whole in its draft; None if it is not remembered."""
        with self._lock:
            found = self._answers.get(request_id)
        is_theirs = found is not None and (found.request.tenant, found.request.caller) == (tenant, caller)
        return found if is_theirs else None

    def forget(self, request_id: str) -> None:
        """Remember that answer no longer."""
        with self._lock:
            self._remove(request_id)

    def forget_old(self) -> None:
        """Remember no longer what is older than the limit."""
        since = self._clock() - self._max_age_s
        with self._lock:
            # They come in the order of their ends, give or take a moment.
            while self._answers and next(iter(self._answers.values())).at < since:
                self._remove(next(iter(self._answers)))

    def forget_all(self) -> None:
        """Remember nothing of what came until now."""
        with self._lock:
            self._answers.clear()
            self.size_bytes = 0

    def _remove(self, request_id: str) -> None:
        if (known := self._answers.pop(request_id, None)) is not None:
            self.size_bytes -= _measure(known)


def _reduce(outcome: Outcome, draft: Draft, text: str) -> Outcome:
    """Return what a row is made of: no credentials, and of the answer its text alone."""
    replace = msgspec.structs.replace
    return replace(
        outcome,
        request=replace(outcome.request, headers=()),
        answer=b"",
        draft=Draft(text=text, score=draft.score, task=draft.task, version=draft.version),
        certification=None,
        reservation=None,
    )


def _measure(outcome: Outcome) -> int:
    """Return about how many bytes an answer takes; its request's texts lie there parsed, too."""
    request = outcome.request
    texts = len(request.template_text) + len(request.text) + len(request.content)
    draft = len(outcome.draft.text) if outcome.draft else 0
    return OVERHEAD_BYTES + len(request.body) + len(request.decoded or b"") + texts + draft
