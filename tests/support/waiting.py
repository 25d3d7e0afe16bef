"""Waits for events of other threads and processes, patiently: a busy machine must not fail a test."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE_S = 100.0
"""How long a test waits for what takes milliseconds on an idle machine; below pytest's own timeout."""
TICK_S = 0.02


def wait_for(condition: Callable[[], T | None], why: str) -> T:
    """Return the first true value of `condition`; fail with `why` after PATIENCE_S."""
    deadline = time.monotonic() + PATIENCE_S
    while not (value := condition()):
        assert time.monotonic() < deadline, why
        time.sleep(TICK_S)
    return value
