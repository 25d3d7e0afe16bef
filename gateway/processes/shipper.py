"""The shipper process: beside the gateway, moves harvested rows to parts and keeps these tidy.

A process of its own because it imports DuckDB and waits for object storage; nothing that serves does.
"""

from __future__ import annotations

import logging
import os
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Sequence

from gateway.errors import StepdownError
from gateway.harvest.parts.compaction import Compactor
from gateway.harvest.parts.parquet import name_writer
from gateway.harvest.parts.removal import PartsRemoval
from gateway.harvest.parts.shipping import Shipper
from gateway.ipc.child_process import exit_with_parent, run_child
from gateway.ipc.heartbeat import Heart
from gateway.policy.load import load_policies
from gateway.processes.harvest_access import lock_parts, open_manifests
from gateway.processes.pruning import read_retention
from gateway.settings import Settings, read_settings
from gateway.telemetry.logs import configure_logging

logger = logging.getLogger(__name__)

NICENESS = 5
PRUNE_EVERY_S = 3_600.0
"""To remove a row, its part is written again: it is gone at most so long after its time."""
TIDY_EVERY_S = 86_400.0


def main(arguments: Sequence[str] | None = None) -> None:
    """Ship until SIGTERM, or until the parent is gone."""
    settings = read_settings(os.environ)
    configure_logging(is_json=settings.server.log_format == "json")
    exit_with_parent()
    Heart(os.environ).beat_in_thread()
    os.nice(NICENESS)
    # At once: whatever it was doing is done as a whole or not at all.
    is_ending = threading.Event()

    def end(*_: object) -> None:
        is_ending.set()
        sys.exit(0)

    signal.signal(signal.SIGTERM, end)
    upkeep = PartsUpkeep(settings)
    while True:
        time.sleep(settings.harvest.parts_every_s)
        try:
            upkeep.run_once()
        except (StepdownError, sqlite3.Error, OSError) as exc:
            # Rows wait in the outboxes meanwhile.
            logger.error("rows could not be moved to parts and it is tried again: %s", exc)
        except RuntimeError:
            # DuckDB makes one of the exception that ends this process amid a query.
            if is_ending.is_set():
                sys.exit(0)
            raise


class PartsUpkeep:
    """All that one home does to its parts."""

    def __init__(self, settings: Settings) -> None:
        """Raises ConfigError for a storage that cannot be used."""
        folder = settings.home.harvest
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        log, writer = open_manifests(settings), name_writer(folder)
        self._settings = settings
        self._shipper = Shipper(folder, log)
        self._compactor = Compactor(log, writer)
        self._removal = PartsRemoval(log, writer)
        self._pruned_at = self._tidied_at = float("-inf")

    def run_once(self) -> int:
        """Ship what waits, merge small parts, prune and tidy when it is time; return how many rows moved."""
        with lock_parts(self._settings):
            rows = self._shipper.ship_all()
            self._compactor.compact()
            now = time.monotonic()
            if now - self._pruned_at > PRUNE_EVERY_S:
                self.prune()
                self._pruned_at = now
            if now - self._tidied_at > TIDY_EVERY_S:
                self._compactor.delete_litter()
                self._tidied_at = now
        return rows

    def prune(self) -> int:
        """Remove the rows that may be kept no longer; return how many."""
        settings = self._settings
        retention = read_retention(settings.harvest, load_policies(settings.policies.folder))
        return self._removal.prune(retention, time.time())


if __name__ == "__main__":
    run_child(main)
