"""How many retries a teacher's requests have earned, so that retries never multiply its trouble."""

from __future__ import annotations

SHARE = 0.1
"""Retries per request, over any longer time: as Finagle's and gRPC's budgets."""
FIRST = 2.0
"""Two at the start, so that the first failure of a quiet gateway is retried as OpenAI's SDKs would."""
MOST = 10.0
"""What a long calm saves up."""


class RetryBudget:
    """Each request earns SHARE of a retry, each retry takes one."""

    def __init__(self) -> None:
        self._left = FIRST

    def note_request(self) -> None:
        """Note a request, whatever becomes of it."""
        if self._left < MOST:
            self._left += SHARE

    def take_retry(self) -> bool:
        """Return whether one more retry is paid for, and take it."""
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True
