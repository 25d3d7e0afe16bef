"""Files that are replaced whole: a reader sees the old content or the new, never half of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replace_file(path: Path) -> Iterator[Path]:
    """Give a scratch path beside `path`; it becomes `path` when the block ends without an exception.

    For one writer at a time: the scratch path is always the same.
    """
    scratch = path.with_suffix(".new")
    yield scratch
    scratch.replace(path)
