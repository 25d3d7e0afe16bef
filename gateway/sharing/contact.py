"""When this machine last reached the others: what its processes must know without asking.

Two cells of the counters that all processes of the machine map, and a small file with the reason for
people. The cells take no write to the disk, so a full one ends no lease.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

import msgspec

from gateway.sharing.base import Config
from gateway.store.atomic_file import replace_file
from gateway.store.home import Home
from gateway.store.shared_counters import Counters

AWAY_AFTER_S = 2.5
"""Two beats that were missed: then limits are held by this machine's share."""
_CELL = "shared state/contact"
_HERE, _AWAY = 0.0, 1.0
"""The stamp of that cell, whose value is the time of the last contact."""
_FLEET_CELL = "shared state/machines"
_SILENT_CELL = "shared state/silent machines"


class Contact:
    """The time of the last contact, for the worker processes. Reading it costs a microsecond."""

    def __init__(
        self, counters: Counters, config: Config, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._cell = counters.cell(_CELL)
        self._fleet = counters.cell(_FLEET_CELL)
        self._silent = counters.cell(_SILENT_CELL)
        self._config = config
        self._clock = clock

    @property
    def age_s(self) -> float:
        """The seconds since the last contact; infinite before the first."""
        age_s = self._clock() - self._cell.value
        # A time to come is one from before the machine was started again.
        return age_s if self._cell.value and age_s >= 0.0 else float("inf")

    @property
    def at(self) -> float:
        """The time of the last contact, in monotonic seconds."""
        return self._cell.value

    @property
    def is_connected(self) -> bool:
        """Whether this machine knows what the others do."""
        return not self._cell.stamp and self.age_s < AWAY_AFTER_S

    @property
    def has_been(self) -> bool:
        """Whether there ever was one, however long ago."""
        return self.age_s < float("inf")

    @property
    def has_lease(self) -> bool:
        """Whether certificates may be served under: an alarm of another machine would be known."""
        return self.age_s < self._config.lease_s

    @property
    def knows_keys(self) -> bool:
        """Whether the keys that are known here still count."""
        return self.age_s < self._config.max_stale_s

    @property
    def machines(self) -> int:
        """How many machines share the limits, this one too; 1 before the first contact."""
        return max(1, int(self._fleet.value))

    @property
    def reachable_share(self) -> float:
        """The part of the machines that can be reached: the others may be at work, with their part."""
        return 1.0 - self._silent.value / self.machines

    def note(self, machines: int, silent: int = 0) -> None:
        """Note a contact that began now, with so many machines that are there and so many that may be."""
        self._fleet.value, self._silent.value = machines, silent
        self._cell.value, self._cell.stamp = self._clock(), _HERE

    def note_away(self) -> None:
        """Note that the others cannot be reached; when they could be last counts on."""
        self._cell.stamp = _AWAY

    def restore(self, age_s: float, machines: int) -> None:
        """Note a contact of an earlier run; it may be from before this machine was switched on."""
        self._fleet.value = machines
        # 0 is none at all.
        self._cell.value, self._cell.stamp = self._clock() - age_s or -1e-3, _AWAY


class ContactReport(msgspec.Struct, frozen=True, kw_only=True):
    """What the status report says of the shared state."""

    state: Literal["connecting", "connected", "away"] = "connecting"
    why: str = ""
    """Why it is away, in one line."""
    since: float = 0.0
    """When that state began, in unix seconds."""
    machine: str = ""
    machines: int = 1
    other_policies: int = 0
    """Machines with other policies than this one."""


def write_contact_report(home: Home, report: ContactReport) -> None:
    """Keep the report for status commands."""
    with replace_file(home.shared_state) as scratch:
        scratch.write_bytes(msgspec.json.encode(report))


def read_contact_report(home: Home) -> ContactReport:
    """Return the last report; an empty one without any."""
    try:
        return msgspec.json.decode(home.shared_state.read_bytes(), type=ContactReport)
    except (OSError, msgspec.DecodeError):
        return ContactReport()
