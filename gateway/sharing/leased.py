"""Limits of one machine that are parts of limits over all machines; the counterparts of `store.rate_limit`.

Where leases are given, each admits from its lease. Where they are not, it has its share of the limit,
beginning at the level that was last seen. All methods are to be called inside the lock of the cells.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from gateway.sharing.leases import SLOT_S, Ask, Grant, LeaseOffice
from gateway.store.rate_limit import ConcurrencyGauge, RateLimit
from gateway.store.shared_counters import Counters

LEASE_S = 2.0
"""So much of its demand a machine takes at once."""
VALID_S = 3.0
"""After that the rest of a lease is given back."""
SHORT_WAIT_S = 0.05
"""Where the level says that there is room and no lease was got: another machine was first."""
ROUNDING = 1e-6


class Leased(Protocol):
    """One limit that leases are taken of."""

    def ask(self, need: float, now: float) -> Ask:
        """Return what to ask for, so that `need` fits; what is given back with it is not there any more."""

    def accept(self, ask: Ask, grant: Grant | None, now: float) -> None:
        """Take in the answer to `ask`; None: there was none."""

    def is_due(self, now: float) -> bool:
        """Whether there is something to give back, to renew or to report."""

    def runs_low(self, now: float) -> bool:
        """Whether more should be asked for before a request must wait for it."""


class Demand:
    """What one machine takes of a limit in LEASE_S, as it was lately; at first twice as much each time."""

    def __init__(self) -> None:
        self._want = 0.0
        self._asked_at = 0.0

    def runs_low(self, left: float, now: float) -> bool:
        """Whether less than half of what was asked for lately is left."""
        return left < self._want / 2 and self.is_recent(now)

    def estimate(self, used: float, need: float, now: float) -> float:
        """Return how much to ask for, after `used` since the last time."""
        if self._asked_at:
            lately = used / max(now - self._asked_at, LEASE_S / 4) * LEASE_S
            self._want = min(lately, 2 * max(self._want, need))
        self._asked_at = now
        return max(need, self._want)

    def is_recent(self, now: float) -> bool:
        """Whether anything was asked for lately."""
        return 0.0 <= now - self._asked_at < VALID_S


class LeasedRate:
    """At most `limit` units at once, refilled over `period_s`, over all machines."""

    def __init__(
        self, counters: Counters, name: str, limit: float, office: LeaseOffice, period_s: float = 60.0
    ) -> None:
        self.name = name
        self.limit = limit
        self._period_s = period_s
        self._unit_s = period_s / limit if limit else 0.0
        self._office = office
        self._cell = counters.cell(name)
        self._lease = counters.cell(f"{name}/lease")
        self._alone = counters.cell(f"{name}/alone")
        self._level = RateLimit(self._cell, limit, period_s)
        self._demand = Demand()
        self._used = 0.0
        self._charged = 0.0

    def take(self, cost: float, now: float, *, may_owe: bool = False) -> float:
        """Take `cost` and return 0, or take nothing and return the seconds until it may fit.

        `may_owe`: where there is room in the limit but not in the lease, take it all the same.
        """
        if not self.limit:
            return self._period_s
        cost = min(cost, self.limit)
        if self.is_leased(cost, now):
            self._spend(cost)
            return 0.0
        if not self._office.is_open:
            return self._take_share(cost, now)
        wait_s = self._wait_s(cost, now)
        if may_owe and wait_s <= ROUNDING:
            self.charge(cost, now)
            return 0.0
        return max(wait_s, SHORT_WAIT_S)

    def charge(self, extra: float, now: float) -> None:
        """Take `extra` whether it fits or not; negative gives back."""
        self._spend(extra)
        self._level.charge(extra, now)
        self._charged += extra

    def remaining(self, now: float) -> int:
        """Return how many whole units may be taken now, here."""
        leased = max(0.0, self._lease.value) if self.is_leased(0.0, now) else 0.0
        return min(int(self.limit), self._level.remaining(now) + int(leased))

    def reset_s(self, now: float) -> float:
        """Return the seconds until the whole limit is there again."""
        return self._level.reset_s(now)

    def is_leased(self, cost: float, now: float) -> bool:
        """Whether `cost` fits into what this machine has; only reads."""
        lease = self._lease
        return lease.value + ROUNDING >= cost and 0.0 <= now - lease.stamp < VALID_S

    def needs_lease(self, cost: float, now: float) -> bool:
        """Whether a lease should be asked for before `cost` is taken."""
        cost = min(cost, self.limit)
        if not self.limit or self.is_leased(cost, now) or not self._office.is_open:
            return False
        return self._wait_s(cost, now) <= ROUNDING

    def ask(self, need: float, now: float) -> Ask:
        """See Leased."""
        need = min(need, self.limit)
        own = want = 0.0
        if need:
            want, self._used = self._demand.estimate(self._used, need, now), 0.0
        if need and self.is_leased(need, now):
            # Requests go on with it while more is asked for.
            want = max(need, want - self._lease.value)
        else:
            own, self._lease.value = self._lease.value, 0.0
        # Without what is reported with `own`.
        seen_s = self._level.reset_s(now) - self._charged * self._unit_s
        self._charged = 0.0
        # What was taken as a share is a part of the whole bucket.
        alone_s = max(0.0, self._alone.value - now) / self._office.machines
        return Ask(
            name=self.name, kind="rate", limit=self.limit, period_s=self._period_s,
            need=need, want=want, own=own, alone=alone_s / self._unit_s, seen_s=max(0.0, seen_s),
        )  # fmt: skip

    def accept(self, ask: Ask, grant: Grant | None, now: float) -> None:
        """See Leased."""
        if grant is None:
            self._lease.value += ask.own
            return
        self._lease.value += grant.granted
        self._lease.stamp = now
        self._alone.value = 0.0
        # What this machine has of it counts as taken, until it is given back.
        self._cell.value, self._cell.stamp = now + grant.level, now

    def is_due(self, now: float) -> bool:
        """See Leased."""
        held = self._lease.value
        return held < -ROUNDING or (held > ROUNDING and not self.is_leased(0.0, now))

    def runs_low(self, now: float) -> bool:
        """See Leased."""
        return self._demand.runs_low(self._lease.value, now)

    def _wait_s(self, cost: float, now: float) -> float:
        return self._level.reset_s(now) + cost * self._unit_s - self._period_s

    def _spend(self, cost: float) -> None:
        self._lease.value -= cost
        self._used += cost

    def _take_share(self, cost: float, now: float) -> float:
        machines = self._office.machines
        # Not below one request: then it comes back more slowly.
        limit = max(1.0, self.limit / machines)
        period_s = limit * self._unit_s * machines
        wait_s = RateLimit(self._cell, limit, period_s).take(min(cost, limit), now)
        if not wait_s:
            taken_s = min(cost, limit) * self._unit_s * machines
            self._alone.value = max(now, self._alone.value) + taken_s
        return wait_s


class LeasedGauge(ConcurrencyGauge):
    """At most `limit` requests under way, over all machines."""

    def __init__(
        self, counters: Counters, name: str, limit: float, office: LeaseOffice, clock: Callable[[], float]
    ) -> None:
        super().__init__(counters.cell(name), limit)
        self.name = name
        self._lease = counters.cell(f"{name}/lease")
        self._office = office
        self._clock = clock

    @property
    def is_full(self) -> bool:
        """Whether no further request may begin here."""
        return self._cell.total >= self._allowed(self._clock())

    def needs_lease(self, now: float) -> bool:
        """Whether a lease should be asked for before one more begins."""
        return self._cell.total + 1 > self._leased(now) and self._office.is_open

    def ask(self, need: float, now: float) -> Ask:
        """See Leased; `need` is 1 for one more."""
        own = self._cell.total
        return Ask(
            name=self.name, kind="gauge", limit=self.limit, period_s=SLOT_S,
            need=own + need, want=2 * (own + need) if own + need else 0.0, own=own,
        )  # fmt: skip

    def accept(self, ask: Ask, grant: Grant | None, now: float) -> None:
        """See Leased."""
        if grant is not None:
            self._lease.value, self._lease.stamp = grant.granted, now

    def is_due(self, now: float) -> bool:
        """See Leased."""
        return bool(self._cell.total or self._lease.value)

    def runs_low(self, now: float) -> bool:
        """See Leased. Places are had for as long as they are needed, and some more."""
        return False

    def _allowed(self, now: float) -> float:
        leased = self._leased(now)
        if self._office.is_open:
            return leased
        return max(leased, min(self.limit, max(1.0, self.limit // self._office.machines)))

    def _leased(self, now: float) -> float:
        lease = self._lease
        return lease.value if 0.0 <= now - lease.stamp < SLOT_S / 2 else 0.0
