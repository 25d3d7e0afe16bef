"""The time for which this thread was ready to run while no core was free."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

# On a core, waiting for one, turns (Documentation/scheduler/sched-stats.rst).
_SCHEDSTAT = Path("/proc/thread-self/schedstat")
_NS_PER_S = 1e9


def read_core_wait_s() -> float:
    """Return the seconds since the calling thread began; 0 where the system does not say. About 10 us."""
    with suppress(OSError, IndexError, ValueError):
        return int(_SCHEDSTAT.read_text().split()[1]) / _NS_PER_S
    return 0.0
