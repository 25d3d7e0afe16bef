"""Dollars of the current day or month over all machines; the counterpart of `store.shared_spend`."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable

from gateway.core import Period, find_period
from gateway.sharing.lease_keeper import LeaseKeeper, Need
from gateway.sharing.leased import ROUNDING, Demand
from gateway.sharing.leases import Ask, Grant, LeaseOffice
from gateway.store.shared_counters import Counters
from gateway.store.shared_spend import SharedSpend

KEPT_USD_S = 40 * 86_400.0
UNSEEN_S = 2.0
"""What the others took within so long before the contact was lost may not have been seen here: they are
looked at once a second. As much as they took in the time before is taken for gone."""
MOST_BUDGETS = 20_000


class FleetSpend(SharedSpend):
    """The dollars of each name over all machines: what is admitted never exceeds the limit by itself.

    While no leases are given, this machine may spend its lease and its part of what was free then, after
    what the others may have taken since this machine last saw their part.
    """

    def __init__(
        self, counters: Counters, period: Period, keeper: LeaseKeeper, clock: Callable[[], float] = time.time
    ) -> None:
        super().__init__(counters, period, clock)
        self._keeper = keeper
        self._leases: dict[tuple[str, float], tuple[LeasedSpend, asyncio.Lock]] = {}

    def needs_lease(self, name: str, usd: float, limit: float) -> bool:
        """See SharedSpend."""
        lease, _ = self._find_lease(name, limit)
        return self._keeper.office.is_open and self._used(name) + usd > lease.allowed + ROUNDING

    async def take_lease(self, name: str, usd: float, limit: float) -> None:
        """See SharedSpend."""
        lease, turn = self._find_lease(name, limit)
        need = Need(lease, usd, self._cell(name).lock)
        await self._keeper.take(turn, lambda: [need] if self.needs_lease(name, usd, limit) else [])

    def reserve(self, name: str, usd: float, limit: float) -> bool:
        """See SharedSpend; `limit` is that over all machines."""
        lease, _ = self._find_lease(name, limit)
        return super().reserve(name, usd, min(limit, lease.allowed + ROUNDING))

    def settle(self, name: str, reserved: float, actual: float) -> float:
        """See SharedSpend; returns what is settled over all machines."""
        return super().settle(name, reserved, actual) + self._others(name)

    def spent(self, name: str) -> float:
        """See SharedSpend; what other machines have set aside counts as spent."""
        return self.spent_here(name) + self._others(name)

    def _find_lease(self, name: str, limit: float) -> tuple[LeasedSpend, asyncio.Lock]:
        known = self._leases.get((name, limit))
        if known is not None:
            return known
        if len(self._leases) >= MOST_BUDGETS:
            self._leases.clear()
        lease = LeasedSpend(
            self._counters, name, self._period, limit, self._keeper.office,
            used=lambda: self._used(name), wall_clock=self._clock,
        )  # fmt: skip
        return self._leases.setdefault((name, limit), (lease, asyncio.Lock()))

    def _used(self, name: str) -> float:
        return self.spent_here(name) + self.reserved(name)

    def _others(self, name: str) -> float:
        number = find_period(self._period, self._clock())[0]
        return OthersSpend(self._counters, f"{name}/usd a {self._period}").value(number)


class OthersSpend:
    """What the other machines have spent and reserved of one budget, as last seen, and how fast that grew."""

    def __init__(self, counters: Counters, name: str) -> None:
        self._level = counters.cell(f"{name}/others")
        self._growth = counters.cell(f"{name}/others growth")

    def value(self, number: int) -> float:
        """Return it for the period of that number."""
        return self._level.value if self._level.stamp == number else 0.0

    def note(self, usd: float, number: int, now: float) -> None:
        """Note what is seen at `now`, in monotonic seconds."""
        rise = max(0.0, usd - self.value(number))
        self._growth.value, self._growth.stamp = self.unseen(now) + rise, now
        self._level.value, self._level.stamp = usd, number

    def unseen(self, last_contact_at: float) -> float:
        """Return how much more it may have been when the contact was lost: what it rose within UNSEEN_S."""
        age_s = max(0.0, last_contact_at - self._growth.stamp)
        return self._growth.value * math.exp(-age_s / UNSEEN_S)


class LeasedSpend:
    """The dollars of one budget that this machine may spend, of those that all machines may."""

    def __init__(
        self, counters: Counters, name: str, period: Period, limit: float, office: LeaseOffice, *,
        used: Callable[[], float], wall_clock: Callable[[], float],
    ) -> None:  # fmt: skip
        """`used` returns what this machine has spent and reserved."""
        self.name = f"{name}/usd a {period}"
        self.limit = limit
        self._period = period
        self._office = office
        self._used = used
        self._wall_clock = wall_clock
        self._granted = counters.cell(f"{self.name}/lease")
        self._others = OthersSpend(counters, self.name)
        self._demand = Demand()
        self._seen = 0.0

    @property
    def allowed(self) -> float:
        """What this machine may have spent and reserved, all in all."""
        granted = self._own_lease()
        if self._office.is_open:
            return granted
        free = self.limit - granted - self.others - self._others.unseen(self._office.contact_at)
        return granted + max(0.0, free) / self._office.machines

    @property
    def others(self) -> float:
        """What the other machines have spent and reserved, as last seen."""
        return self._others.value(self._number())

    def ask(self, need: float, now: float) -> Ask:
        """See Leased; `need` is the price of one more request."""
        own, want = self._used(), 0.0
        if need:
            want = self._demand.estimate(max(0.0, own - self._seen), need, now)
            self._seen = own
        return Ask(
            name=f"{self.name}/{self._number()}", kind="usd", limit=self.limit, period_s=KEPT_USD_S,
            need=own + need, want=own + want, own=own,
        )  # fmt: skip

    def accept(self, ask: Ask, grant: Grant | None, now: float) -> None:
        """See Leased."""
        if grant is not None:
            number = self._number()
            self._granted.value, self._granted.stamp = grant.granted, number
            self._others.note(grant.level, number, now)

    def is_due(self, now: float) -> bool:
        """See Leased."""
        left = self._own_lease() - self._used()
        return left < -ROUNDING or (left > ROUNDING and not self._demand.is_recent(now))

    def runs_low(self, now: float) -> bool:
        """See Leased."""
        return self._demand.runs_low(self._own_lease() - self._used(), now)

    def _own_lease(self) -> float:
        return self._granted.value if self._granted.stamp == self._number() else 0.0

    def _number(self) -> int:
        return find_period(self._period, self._wall_clock())[0]
