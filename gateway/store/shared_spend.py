"""Dollars of the current day or month, settled and reserved, over all workers of a machine."""

from __future__ import annotations

import time
from collections.abc import Callable

from gateway.core import Period, find_period
from gateway.store.shared_counters import Cell, Counters


class SharedSpend:
    """The dollars of each name, a key's or a policy's, in the current UTC day or month.

    Exact over workers: what `reserve` admits never exceeds the limit by itself. What a killed worker had
    reserved is free again when it is restarted. A clock that is set back keeps what was spent, for the
    period that it then shows. `clock` is in unix seconds.
    """

    def __init__(self, counters: Counters, period: Period, clock: Callable[[], float] = time.time) -> None:
        self._counters = counters
        self._period = period
        self._clock = clock
        self._number, self._begins_at, self._ends_at = 0, 0.0, 0.0

    def reserve(self, name: str, usd: float, limit: float) -> bool:
        """Set `usd` aside and return True, or return False if settled and reserved would exceed `limit`."""
        cell = self._cell(name)
        with cell.lock:
            if self._settled(cell) + cell.total + usd > limit:
                return False
            cell.own += usd
            return True

    def settle(self, name: str, reserved: float, actual: float) -> float:
        """Free `reserved`, book `actual` in the current period, and return what is settled now."""
        cell = self._cell(name)
        with cell.lock:
            cell.own = max(0.0, cell.own - reserved)
            cell.value = self._settled(cell) + actual
            return cell.value

    def raise_to(self, name: str, usd: float) -> None:
        """Let at least `usd` be settled: what a ledger on disk knows of this period."""
        cell = self._cell(name)
        with cell.lock:
            cell.value = max(self._settled(cell), usd)

    def needs_lease(self, name: str, usd: float, limit: float) -> bool:
        """Whether `take_lease` must be waited for before `usd` can be reserved: never on one machine."""
        return False

    async def take_lease(self, name: str, usd: float, limit: float) -> None:
        """Let this machine have a part of `limit` that `usd` fits into, if there is one."""

    def spent(self, name: str) -> float:
        """Return what is settled in the current period."""
        return self.spent_here(name)

    def spent_here(self, name: str) -> float:
        """Return what this machine has settled in the current period."""
        cell = self._cell(name)
        return cell.value if cell.stamp >= self._current() else 0.0

    def reserved(self, name: str) -> float:
        """Return what all workers have reserved."""
        return self._cell(name).total

    def ends_at(self) -> float:
        """Return when the current period ends, in unix seconds."""
        self._current()
        return self._ends_at

    def _cell(self, name: str) -> Cell:
        return self._counters.cell(f"{name}/usd a {self._period}")

    def _settled(self, cell: Cell) -> float:
        """Return what is settled in the current period; a later period's is this one's, see the class."""
        current = self._current()
        if cell.stamp < current:
            cell.value = 0.0
        if cell.stamp != current:
            cell.stamp = current
        return cell.value

    def _current(self) -> int:
        now = self._clock()
        if not self._begins_at <= now < self._ends_at:
            self._number, self._begins_at, self._ends_at = find_period(self._period, now)
        return self._number
