"""How far the learner of a home folder has got: a small file, written after each of its steps."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """`rows` harvested rows had been looked at when a step ended at `at` (unix seconds)."""

    rows: int = 0
    at: float = 0.0


def read_progress(home: Path) -> Progress:
    """Return the progress; that of nobody when no learner has run yet."""
    try:
        return msgspec.json.decode(_file(home).read_bytes(), type=Progress)
    except (OSError, msgspec.DecodeError):
        return Progress()


def write_progress(home: Path, rows: int) -> None:
    """Note that a step has ended which knew of `rows` rows."""
    fresh = _file(home).with_suffix(".new")
    fresh.write_bytes(msgspec.json.encode(Progress(rows=rows, at=time.time())))
    fresh.rename(_file(home))


def _file(home: Path) -> Path:
    return home / "learner.json"
