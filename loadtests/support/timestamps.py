"""Timestamps in chunks, written where they leave, so that their way to the reader can be timed.

Both ends must run on one machine: they read the same monotonic clock.
"""

from __future__ import annotations

import re
import time

STAMP = re.compile(rb"t=(\d{16})")
BYTES = 18


def stamp() -> bytes:
    """Return the current time as BYTES bytes that need no escaping in JSON."""
    return b"t=%016d" % (time.monotonic_ns() // 1_000)


def delays_ms(data: bytes) -> list[float]:
    """Return the age of each stamp in `data`; a stamp that `data` cuts in two is left out."""
    now = time.monotonic_ns() // 1_000
    return [(now - int(moment)) / 1_000 for moment in STAMP.findall(data)]
