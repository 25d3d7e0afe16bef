"""How many rows the harvest has, for reports that must not wait for a storage that is away."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable

from gateway.errors import StepdownError
from gateway.harvest.reader import Count, HarvestReader
from gateway.settings import Settings

logger = logging.getLogger(__name__)

WAIT_S = 1.0
"""A scrape gives up after some seconds, and one that fails hides everything else that is wrong."""


def choose_row_counts(settings: Settings, harvest: HarvestReader) -> Callable[[], dict[str, Count]]:
    """Return what counts the rows of each task in `harvest`, which is that of `settings`."""
    if settings.harvest.parts is None:
        return harvest.counts
    return RowCounts(harvest, HarvestReader(settings.home.harvest)).read


class RowCounts:
    """Reads the counts in a thread, and gives those that are known when that takes long or fails."""

    def __init__(self, harvest: HarvestReader, outboxes: HarvestReader, wait_s: float = WAIT_S) -> None:
        """`outboxes` are read while those of `harvest` were never known."""
        self._harvest = harvest
        self._outboxes = outboxes
        self._wait_s = wait_s
        self._known: dict[str, Count] | None = None
        self._is_away = False
        self._lock = threading.Lock()
        self._reading: threading.Thread | None = None
        self._began_at = 0.0

    def read(self) -> dict[str, Count]:
        """Return the rows of each task as last read, a moment ago unless the storage is away."""
        with self._lock:
            if self._reading is None or not self._reading.is_alive():
                # A daemon: the end of this process waits for no storage.
                self._reading = threading.Thread(target=self._read, name="row-counts", daemon=True)
                self._began_at = time.monotonic()
                self._reading.start()
            reading, until = self._reading, self._began_at + self._wait_s
        reading.join(max(0.0, until - time.monotonic()))
        return self._outboxes.counts() if self._known is None else self._known

    def _read(self) -> None:
        try:
            self._known = self._harvest.counts()
        except (StepdownError, sqlite3.Error) as exc:
            if not self._is_away:
                logger.warning("reports show the rows that were known before: %s", exc)
            self._is_away = True
        else:
            self._is_away = False
