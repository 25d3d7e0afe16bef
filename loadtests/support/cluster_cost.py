"""What leases add to the CPU of a request: the same key on one machine alone, and on one of three."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from gateway.core import Limits
from gateway.policy.key_limits import KeyLimits
from gateway.sharing.base import Config
from gateway.sharing.contact import Contact
from gateway.sharing.lease_keeper import LeaseKeeper
from gateway.sharing.leases import LeaseOffice
from gateway.store.keys import KeyFacts
from gateway.store.shared_counters import Counters, create_counters
from tests.support.valkey import running_valkey

REQUESTS = 4_000
KEY = KeyFacts(id="k", name="k", tenant="k", created_at=0.0, limits=Limits(requests_per_minute=100_000))


async def measure_cost(per_s: float) -> float:
    """Return the CPU microseconds that a request takes more, of a key with so many per second here.

    The requests follow each other at once, on a clock that says what it would at that rate; sweeps come
    as often as they would.
    """
    with tempfile.TemporaryDirectory() as folder, running_valkey() as valkey:
        alone = KeyLimits(_open_counters(Path(folder) / "alone"))
        counters = _open_counters(Path(folder) / "shared")
        now = time.monotonic()
        clock = [now]
        config = Config(url=valkey.url)
        contact = Contact(counters, config, lambda: clock[0])
        keeper = LeaseKeeper(LeaseOffice(config, "one", contact, lambda: clock[0]), lambda: clock[0])
        shared = KeyLimits(counters, lambda: clock[0], keeper=keeper)
        contact.note(3)
        began = time.process_time()
        for _ in range(REQUESTS):
            _admit(alone)
        alone_s = time.process_time() - began
        began = time.process_time()
        for number in range(REQUESTS):
            clock[0] = now + number / per_s
            contact.note(3)
            if shared.lacks_lease(KEY, 20):
                await shared.take_leases(KEY, 20)
            _admit(shared)
            if number % max(1, int(per_s)) == 0:
                await keeper.sweep()
        shared_s = time.process_time() - began
        await keeper.stop()
    return (shared_s - alone_s) / REQUESTS * 1e6


def _open_counters(path: Path) -> Counters:
    create_counters(path, 2)
    return Counters(path, 0)


def _admit(limits: KeyLimits) -> None:
    admission = limits.admit(KEY, 20)
    if admission:
        admission.close()
