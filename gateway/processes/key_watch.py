"""A worker's view of the gateway's keys: what they may use, and when they end."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from gateway.api.key_lookup import KeyLookup
from gateway.api.under_way import OpenWork
from gateway.policy.key_limits import KeyLimits
from gateway.sharing import base as sharing
from gateway.sharing.contact import Contact
from gateway.sharing.lease_keeper import open_lease_keeper
from gateway.store.home import Home, read_machine_name
from gateway.store.keys import KeyStore
from gateway.store.shared_counters import Counters
from gateway.telemetry.metrics import Probe

logger = logging.getLogger(__name__)

# A revoked key's streams and websockets end within a second: this, and the reading of the keys.
REFRESH_S = 0.25


class KeyWatch:
    """Follows the keys on disk, in a task of its own: nothing that is slow may keep a revoked key alive."""

    def __init__(self, keys: KeyStore, home: Home, number: int, state: sharing.Config) -> None:
        self.counters = Counters(home.counters, number)
        self.contact = Contact(self.counters, state) if state.is_shared else None
        """That with the machines that share limits and keys, where there are any."""
        machine = read_machine_name(home) if state.is_shared else ""
        self._leases = open_lease_keeper(state, machine, self.counters)
        self.limits = KeyLimits(self.counters, keeper=self._leases)
        self.open_work = OpenWork()
        self.look_up = KeyLookup(keys.refresh, self._is_valid).look_up
        self._keys = keys
        self._is_failing = False
        self._watching: asyncio.Task[None] | None = None

    def list_probes(self) -> list[Probe]:
        """Return what metrics show of the leases; nothing where one machine is all."""
        if self._leases is None:
            return []
        office = self._leases.office
        return [
            Probe("lease_waits_total", "Leases that a request waited for.", lambda: office.waits),
            Probe("lease_misses_total", "Leases asked for in vain.", lambda: office.misses),
        ]

    def start(self) -> None:
        """Begin to follow; call it in the loop that serves."""
        self._watching = asyncio.create_task(self._watch())
        if self._leases:
            self._leases.start()

    async def stop(self) -> None:
        """Follow no more."""
        if self._leases:
            await self._leases.stop()
        if self._watching:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching

    def _is_valid(self, key_hash: str) -> bool:
        return self._keys.find_by_hash(key_hash) is not None

    async def _watch(self) -> None:
        while True:
            try:
                await asyncio.to_thread(self._keys.refresh)
                self._is_failing = False
            except Exception as exc:
                # The task's outermost edge: whatever is wrong with the file, expired keys must still end.
                if not self._is_failing:
                    logger.error("keys cannot be read, those known still hold: %s", exc)
                self._is_failing = True
            self.open_work.end_invalid(self._is_valid)
            self.open_work.tell_keys(self._keys.find_by_hash)
            await asyncio.sleep(REFRESH_S)
