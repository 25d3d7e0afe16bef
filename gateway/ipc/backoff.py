"""Growing pauses between attempts to start a process or to reach it."""

from __future__ import annotations


class Backoff:
    """Exponential backoff: each pause is twice the one before, from `first_s` up to `longest_s`.

    Without jitter: the processes of one machine are too few to arrive as a crowd.
    """

    def __init__(self, first_s: float, longest_s: float) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._next_s = first_s

    def next_pause_s(self) -> float:
        """Return how long to wait before the next attempt; the pause after it is twice as long."""
        pause_s = self._next_s
        self._next_s = min(self._longest_s, pause_s * 2)
        return pause_s

    def reset(self) -> None:
        """Start with the first pause again: an attempt has succeeded."""
        self._next_s = self._first_s
