"""Where imported rows are written: the file of their own, and the count of each task."""

from __future__ import annotations

from collections import Counter

from gateway.errors import ConfigError
from gateway.harvest.base import Row
from gateway.harvest.outbox import Outbox
from gateway.settings import Settings
from gateway.store.state import State

FILE = "worker-imported.db"
"""Beside those of the workers, and read like them."""
_BLOCK_ROWS = 1_000


class ImportedRows:
    """Writes rows in blocks; every method may block. Raises ConfigError if the disk fails.

    A block is counted before it is written, so that neither a learner that looks meanwhile nor an import
    that is killed leaves rows that nothing says are imported. A killed one counts a block too many at most.
    """

    def __init__(self, settings: Settings, state: State) -> None:
        self._outbox = Outbox(settings.home.harvest / FILE, settings.harvest)
        self._state = state
        self._block: list[Row] = []

    def put(self, row: Row) -> None:
        """Take a row, to be durable after `flush`."""
        self._block.append(row)
        if len(self._block) >= _BLOCK_ROWS:
            self.flush()

    def flush(self) -> None:
        """Return once every row is durable."""
        self._state.imports.add(Counter(row.task for row in self._block if row.is_lesson))
        for row in self._block:
            while not self._outbox.put(row):
                self._write()
        self._block.clear()
        self._write()

    def close(self) -> None:
        """End the writing; what was put after the last `flush` is dropped."""
        self._outbox.close()

    def _write(self) -> None:
        self._outbox.flush()
        if self._outbox.faults:
            raise ConfigError(f"{self._outbox.path} cannot be written; what is missing can be imported again")
