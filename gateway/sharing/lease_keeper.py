"""Takes leases before requests need them, and gives back what they leave."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from gateway.sharing.base import AwayError, Config
from gateway.sharing.contact import Contact
from gateway.sharing.leased import Leased
from gateway.sharing.leases import LeaseOffice
from gateway.store.cell_lock import CellLock
from gateway.store.shared_counters import Counters

logger = logging.getLogger(__name__)

SWEEP_S = 1.0
FORGOTTEN_S = 15.0
"""After so long without a request a limit is looked after no more."""
MOST_AT_ONCE = 128


class Need(NamedTuple):
    """A limit that must have room for so much, and the lock of its cells."""

    limit: Leased
    amount: float
    lock: CellLock


class LeaseKeeper:
    """Keeps the leases of one worker; for its event loop alone."""

    def __init__(self, office: LeaseOffice, clock: Callable[[], float] = time.monotonic) -> None:
        self.office = office
        self._clock = clock
        self._touched: dict[int, tuple[Need, float]] = {}
        self._sweeping: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to give back and renew; call it in the loop that serves."""
        self._sweeping = asyncio.create_task(self._keep_sweeping())

    async def stop(self) -> None:
        """Give everything back, if that is possible now."""
        if self._sweeping:
            self._sweeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sweeping
        await self.sweep(is_last=True)
        await self.office.close()

    async def take(self, turn: asyncio.Lock, find_needs: Callable[[], Sequence[Need]]) -> None:
        """Ask for what `find_needs` returns, if it returns anything; what is not given is not there.

        With `turn`, requests for one limit ask one after the other: what the first one gets is often
        enough for all.
        """
        if find_needs():
            async with turn:
                if needs := find_needs():
                    self.office.waits += 1
                    await self._ask(needs)

    async def sweep(self, *, is_last: bool = False) -> None:
        """Give back what is left of old leases, report what was used without one, renew what is in use.

        The last time of all leases.
        """
        now = self._clock()
        due = {
            key: need if is_low else need._replace(amount=0.0)
            for key, (need, _) in self._touched.items()
            if (is_low := not is_last and need.limit.runs_low(now)) or is_last or need.limit.is_due(now)
        }
        self._touched = {
            key: touched
            for key, touched in self._touched.items()
            if key in due or now - touched[1] < FORGOTTEN_S
        }
        asked = list(due.values())
        for start in range(0, len(asked), MOST_AT_ONCE):
            if not await self._ask(asked[start : start + MOST_AT_ONCE], is_sweep=True):
                return

    async def _ask(self, needs: Sequence[Need], *, is_sweep: bool = False) -> bool:
        if not self.office.is_open:
            return False
        now = self._clock()
        asks = []
        for need in needs:
            if need.amount and not is_sweep:
                self._touched[id(need.limit)] = need, now
            with need.lock:
                asks.append(need.limit.ask(need.amount, now))
        try:
            grants = await self.office.ask(asks)
        except AwayError as exc:
            logger.debug("limits are held by this machine's share: %s", exc)
            grants = None
        now = self._clock()
        for number, (need, ask) in enumerate(zip(needs, asks, strict=True)):
            with need.lock:
                need.limit.accept(ask, grants[number] if grants else None, now)
        return grants is not None

    async def _keep_sweeping(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            try:
                await self.sweep()
            except Exception:
                # The task's outermost edge: leases that are not swept end by themselves, but not at once.
                logger.exception("leases could not be given back")


def open_lease_keeper(config: Config, machine: str, counters: Counters) -> LeaseKeeper | None:
    """Return what keeps the leases of the limits in `counters`; None where one machine is all."""
    if not config.is_shared:
        return None
    return LeaseKeeper(LeaseOffice(config, machine, Contact(counters, config)))
