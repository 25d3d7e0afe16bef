"""Limits on rate and on concurrency, held over all workers of a machine."""

from __future__ import annotations

from gateway.store.shared_counters import Cell

# Two workers read the clock and then wait for the lock: who read first may come second. Only a greater
# step back is a clock that was set.
_CLOCK_STEP_S = 1.0
# What an answer took beyond its estimate is paid off; one absurd number must not lock a key for a year.
_MOST_DEBT_PERIODS = 10


class RateLimit:
    """At most `limit` units at once, refilled evenly over `period_s`: the generic cell rate algorithm.

    Its cell holds when the bucket will be full again. Every method is to be called inside a lock, the same
    one for all methods and workers; `now` is in seconds of one clock. When that clock is set back, what
    was taken moves with it: no caller waits longer than without the step.
    Source: ATM Forum, Traffic Management 4.1, section 4.4.2 (virtual scheduling).
    """

    def __init__(self, cell: Cell, limit: float, period_s: float = 60.0) -> None:
        self._cell = cell
        self.limit = limit
        self._period_s = period_s
        self._interval_s = period_s / limit if limit else 0.0

    def take(self, cost: float, now: float, *, may_owe: bool = False) -> float:
        """Take `cost` and return 0, or take nothing and return the seconds until it fits.

        More than the limit costs the whole limit: an estimate may be too high, and never must it be
        refused for ever. A limit of 0 lets nothing through.
        """
        if not self.limit:
            return self._period_s
        full_at = self._full_at(now) + min(cost, self.limit) * self._interval_s
        wait_s = full_at - now - self._period_s
        # Sums of floats: a bucket that is full but for the last bit is full.
        if wait_s > 1e-6:
            return wait_s
        self._cell.value = full_at
        return 0.0

    def charge(self, extra: float, now: float) -> None:
        """Take `extra` whether it fits or not; negative gives back."""
        most = now + _MOST_DEBT_PERIODS * self._period_s
        self._cell.value = min(self._full_at(now) + extra * self._interval_s, most)

    def remaining(self, now: float) -> int:
        """Return how many whole units may be taken now."""
        if not self.limit:
            return 0
        free_s = self._period_s - (self._full_at(now) - now)
        return max(0, int(free_s / self._interval_s + 1e-6))

    def reset_s(self, now: float) -> float:
        """Return the seconds until the whole limit is there again."""
        return self._full_at(now) - now

    def _full_at(self, now: float) -> float:
        """Return when the bucket is full, not before `now`, after following a step of the clock."""
        cell = self._cell
        full_at, seen = cell.value, cell.stamp
        if seen > now + _CLOCK_STEP_S:
            full_at -= seen - now
            cell.value = full_at
            cell.stamp = now
        elif now > seen:
            cell.stamp = now
        return max(full_at, now)


class ConcurrencyGauge:
    """How many requests are under way; each worker counts its own.

    `enter` is to be called inside a lock, `leave` by the same thread, with or without the lock.
    """

    def __init__(self, cell: Cell, limit: float) -> None:
        self._cell = cell
        self.limit = limit

    @property
    def is_full(self) -> bool:
        """Whether one more would exceed the limit."""
        return self.entered >= self.limit

    def enter(self) -> bool:
        """Count one more and return True, or return False if that would exceed the limit."""
        if self.is_full:
            return False
        self._cell.own += 1
        return True

    def leave(self) -> None:
        """Count one less."""
        self._cell.own = max(0.0, self._cell.own - 1)

    @property
    def entered(self) -> int:
        """How many are under way in all workers."""
        return int(self._cell.total)
