"""The learner's progress: a small file in the home folder, written after each of its steps."""

from __future__ import annotations

import time

import msgspec

from gateway.store.atomic_file import replace_file
from gateway.store.home import Home


class LearnerProgress(msgspec.Struct, frozen=True, kw_only=True):
    """The learner had looked at `rows` harvested rows when a step ended at `at` (unix seconds)."""

    rows: int = 0
    at: float = 0.0


def read_learner_progress(home: Home) -> LearnerProgress:
    """Return the learner's progress, zeros if it has not run yet."""
    try:
        return msgspec.json.decode(home.learner_progress.read_bytes(), type=LearnerProgress)
    except (OSError, msgspec.DecodeError):
        return LearnerProgress()


def write_learner_progress(home: Home, rows: int) -> None:
    """Note the end of a step that has looked at `rows` rows."""
    progress = LearnerProgress(rows=rows, at=time.time())
    with replace_file(home.learner_progress) as scratch:
        scratch.write_bytes(msgspec.json.encode(progress))
