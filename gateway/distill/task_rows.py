"""The rows of one task that the learner holds in memory, read from the harvest piece by piece."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from gateway.core import copy_keys
from gateway.harvest.base import Row
from gateway.harvest.reader import Count, Cursor, HarvestReader
from gateway.store.templates import TemplateStore


class TaskRows:
    """The most recent training rows and as many held-out rows of a task, oldest first.

    Those of near copies that `templates` knows as tasks of their own count as rows that came, and are
    neither lessons nor evidence.
    """

    def __init__(self, task: str, max_rows: int, templates: TemplateStore) -> None:
        self._task = task
        self._templates = templates
        self._training: deque[Row] = deque(maxlen=max_rows)
        self._evidence: deque[Row] = deque(maxlen=max_rows)
        self._training_read = 0
        self._evidence_read = 0
        self._cursor: Cursor | None = None
        self._removed = Count()

    @property
    def came(self) -> int:
        """How many held-out rows were ever read."""
        return self._evidence_read

    def read(self, harvest: HarvestReader) -> None:
        """Take in what was harvested since the last reading, and drop what was removed; may block."""
        # What was forgotten a moment ago must teach no version any more.
        harvest.refresh()
        removed = harvest.removed().get(self._task, Count())
        if removed != self._removed:
            self._start_again(removed)
        batch = harvest.rows(self._task, self._cursor, with_messages=False, lessons_only=True)
        self._cursor = batch.cursor
        for row in batch.rows:
            (self._evidence if row.is_held_out else self._training).append(row)
        held_out = sum(row.is_held_out for row in batch.rows)
        self._evidence_read += held_out
        self._training_read += len(batch.rows) - held_out

    def _start_again(self, removed: Count) -> None:
        """Forget all rows, because nothing tells any more which of them were `removed`."""
        self._training.clear()
        self._evidence.clear()
        # They still count as rows that came: what grows with them must not wait for them twice.
        self._training_read, self._evidence_read = removed.training, removed.held_out
        self._removed, self._cursor = removed, None

    def newest(self) -> Row | None:
        """Return the latest row of either kind."""
        ends = [rows[-1] for rows in (self._training, self._evidence) if rows]
        return max(ends, key=lambda row: row.at, default=None)

    def training(self, valid_from: float = 0.0) -> list[Row]:
        """Return the training rows since `valid_from`."""
        return [row for row in self._training if row.at >= valid_from and not self._is_separate(row)]

    def reviewable(self, harvest: HarvestReader) -> list[Row]:
        """Return the training rows, and the local answers that reviewers may make lessons of; may block.

        These are few, and no other lesson waits for them: so they are neither kept in memory nor counted.
        """
        local = [row for row in harvest.local_rows(self._task) if not self._is_separate(row)]
        training = self.training()
        return sorted([*training, *local], key=lambda row: row.at) if local else training

    def evidence(self) -> list[Row]:
        """Return the held-out rows as they were drawn: what was asked more often is there more often."""
        return [row for row in self._evidence if row.propensity > 0.0 and not self._is_separate(row)]

    def imported_evidence(self) -> list[Row]:
        """Return the rows that imports held out: no coin drew them, and no window of audits may hold them."""
        return [row for row in self._evidence if row.propensity == 0.0]

    def grown(self, valid_from: float) -> Count:
        """Return how many training and held-out rows have come since `valid_from`, forgotten ones too."""
        return Count(
            training=_since(self._training, self._training_read, valid_from),
            held_out=_since(self._evidence, self._evidence_read, valid_from),
        )

    def _is_separate(self, row: Row) -> bool:
        if row.match == "fingerprint":
            return False
        return self._templates.status_of(row.task, *copy_keys(row.template, row.place)) == "separate"


def _since(rows: Iterable[Row], read: int, valid_from: float) -> int:
    ages = [row.at < valid_from for row in rows]
    stale, fresh = sum(ages), len(ages) - sum(ages)
    # What the deque forgot is older than what it holds: all of it is stale if anything is.
    return fresh if stale else read
