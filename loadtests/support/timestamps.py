"""A moment written into a chunk where it leaves, so that its way to the reader can be timed.

Both ends must run on one machine: they read the same monotonic clock.
"""

from __future__ import annotations

import re
import time

STAMP = re.compile(rb"t=(\d{16})")
BYTES = 18


def stamp() -> bytes:
    """Return now as BYTES bytes which need no escaping in JSON."""
    return b"t=%016d" % (time.monotonic_ns() // 1_000)


def delays_ms(data: bytes) -> list[float]:
    """Return how long ago each stamp in `data` was written; one which `data` cuts in two is left out."""
    now = time.monotonic_ns() // 1_000
    return [(now - int(moment)) / 1_000 for moment in STAMP.findall(data)]
