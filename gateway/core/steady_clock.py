"""A clock of unix seconds that does not believe a sudden jump at once."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)

# Corrections by NTP are smaller, or come before anything else starts.
LARGEST_STEP_S = 60.0
BELIEVED_AFTER_S = 600.0


def _read_running_s() -> float:
    """Return seconds that no one can set; on Linux a suspended machine's count as well."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class SteadyClock:
    """Returns unix seconds; after a jump, those that it would show without it, for ten minutes.

    So a clock that is set wrongly, and then right again, neither ends nor prolongs a certificate or a key.
    One that stays where it is was set for good, and is followed.
    """

    def __init__(
        self, wall: Callable[[], float] = time.time, running: Callable[[], float] = _read_running_s
    ) -> None:
        self._read_wall = wall
        self._read_running = running
        self._anchor = wall() - running()
        """What the wall clock shows beyond the running one."""
        self._jumped_at: float | None = None

    def __call__(self) -> float:
        """Return the time."""
        running = self._read_running()
        anchor = self._read_wall() - running
        if abs(anchor - self._anchor) <= LARGEST_STEP_S:
            self._anchor, self._jumped_at = anchor, None
        elif self._jumped_at is None:
            self._jumped_at = running
            logger.warning("the clock jumped by %.0f s; it is followed if it stays", anchor - self._anchor)
        elif running - self._jumped_at > BELIEVED_AFTER_S:
            self._anchor, self._jumped_at = anchor, None
        return self._anchor + running
