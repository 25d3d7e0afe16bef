"""What stays of a student on its task's bench until the next version."""

from __future__ import annotations

from collections.abc import Iterable, Set
from pathlib import Path
from typing import Any

import msgspec

from gateway.distill import checkpoints

_KEPT_SHARE = 0.5


class SavedStudent(msgspec.Struct, frozen=True, kw_only=True):
    """An adapter's weights by name, and the marks of all rows which it and its ancestors learnt.

    `name` tells what it was trained for, `base` is the digest of the base which it belongs to; a
    later student has a larger `number`.
    """

    name: str
    weights: dict[str, Any]
    rows: frozenset[str]
    base: str
    number: int


def save(memory: SavedStudent, path: Path) -> None:
    """Replace the student at `path`, all or nothing."""
    saved = {field: getattr(memory, field) for field in memory.__struct_fields__}
    checkpoints.save(saved | {"rows": sorted(memory.rows)}, path)


def load(path: Path) -> SavedStudent | None:
    """Return the student at `path`, None without a readable one."""
    saved = checkpoints.load(path)
    if saved is None:
        return None
    return SavedStudent(
        name=saved["name"],
        weights=saved["weights"],
        rows=frozenset(saved["rows"]),
        base=saved["base"],
        number=saved["number"],
    )


def newest(paths: Iterable[Path]) -> SavedStudent | None:
    """Return the latest student in files which need not exist."""
    students = [student for path in paths if (student := load(path))]
    return max(students, key=lambda student: student.number, default=None)


def parent(student: SavedStudent | None, base: str, rows: Set[str]) -> SavedStudent | None:
    """Return `student` if one of `rows` may go on from it: of the same base, most of it still taught.

    After an alarm only later rows are: a student with the old habits is worse than none.
    """
    if student is None or student.base != base:
        return None
    return student if len(student.rows & rows) >= _KEPT_SHARE * len(student.rows) else None
