"""The newest answers of specialists as rows, in memory alone, until an app complains of one."""

from __future__ import annotations

import threading

from gateway.core import Outcome, Reading
from gateway.harvest.base import Row, measure_texts
from gateway.harvest.gather import local_row_of
from gateway.harvest.outbox import ROW_OVERHEAD_BYTES


class RecentAnswers:
    """An observer that remembers what specialists answered, the newest `max_bytes` of it. Never blocks.

    What may not be harvested is never remembered. Threads may share it. `user_key` is the secret of
    `hash_user`.
    """

    def __init__(self, max_bytes: int, *, user_key: bytes = b"") -> None:
        self.size_bytes = 0
        self._max_bytes = max_bytes
        self._user_key = user_key
        self._lock = threading.Lock()
        # Rows at once, though few are ever wanted: 3 us each, in the observers' thread. Outcomes take 2 us,
        # but the garbage collector looks through 5,000 of them in 16 ms, and all else stands still.
        self._rows: dict[str, Row] = {}
        """By request id, the oldest first."""

    def __call__(self, outcome: Outcome, reading: Reading) -> None:
        """Remember `outcome` if a specialist answered it."""
        row = local_row_of(outcome, reading, user_key=self._user_key) if self._max_bytes else None
        if row is None:
            return
        with self._lock:
            self._remove(row.request_id)
            self._rows[row.request_id] = row
            self.size_bytes += _measure(row)
            while self.size_bytes > self._max_bytes:
                self._remove(next(iter(self._rows)))

    def find(self, request_id: str, tenant: str, caller: str) -> Row | None:
        """Return the answer to a request of that caller; None if it is not remembered."""
        with self._lock:
            row = self._rows.get(request_id)
        return row if row is not None and (row.tenant, row.caller) == (tenant, caller) else None

    def forget(self, request_id: str) -> None:
        """Remember that answer no longer."""
        with self._lock:
            self._remove(request_id)

    def forget_before(self, at: float) -> None:
        """Remember no longer what ended by then, in unix seconds."""
        with self._lock:
            # They come in the order of their ends, give or take a moment.
            while self._rows and next(iter(self._rows.values())).at <= at:
                self._remove(next(iter(self._rows)))

    def _remove(self, request_id: str) -> None:
        if (row := self._rows.pop(request_id, None)) is not None:
            self.size_bytes -= _measure(row)


def _measure(row: Row) -> int:
    return ROW_OVERHEAD_BYTES + measure_texts(row)
