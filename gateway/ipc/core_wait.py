"""The time for which this thread was ready to run while no core was free."""

from __future__ import annotations

import os
from contextlib import suppress

# On a core, waiting for one, turns (Documentation/scheduler/sched-stats.rst).
_SCHEDSTAT = "/proc/thread-self/schedstat"
_LONGEST = 64
_NS_PER_S = 1e9


def read_core_wait_s() -> float:
    """Return the seconds since the calling thread began; 0 where the system does not say. About 15 us."""
    with suppress(OSError, IndexError, ValueError):
        # Not `open`: its buffers and its decoder cost as much again.
        file = os.open(_SCHEDSTAT, os.O_RDONLY)
        try:
            return int(os.read(file, _LONGEST).split()[1]) / _NS_PER_S
        finally:
            os.close(file)
    return 0.0
