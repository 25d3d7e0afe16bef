"""Whose requests a version has learnt: known when the retention has removed the rows long ago.

Four hashes and a time are kept of a lesson, 40 bytes; neither names nor texts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.errors import RegistryError
from gateway.harvest.base import REPEATS, Row
from gateway.harvest.removal import Selection
from gateway.specialists.linear.arrays import read_array

FILE = "owners.npy"
_NAMES = ("request", "user", "tenant", "caller")
_LESSON = np.dtype([*((name, np.uint64) for name in _NAMES), ("at", np.float64)])


def write_lesson_owners(rows: Iterable[Row], folder: Path, parent: Path | None = None) -> None:
    """Write whose requests `rows` are into `folder`, beside those of the version in `parent`, if given."""
    lessons = np.array([_describe(row) for row in rows], _LESSON)
    if parent is not None:
        lessons = np.concatenate([_read(parent), lessons])
    np.save(folder / FILE, np.unique(lessons))


def has_lesson_of(folder: Path, selection: Selection) -> bool:
    """Return whether the version in `folder` has learnt a request that `selection` names, by its own list.

    One that has no list has none: it is older than these. `selection.task` is the caller's to look at.
    Raises RegistryError.
    """
    lessons = _read(folder)
    chosen = np.ones(len(lessons), bool)
    for name, values in _list_conditions(selection):
        chosen &= np.isin(lessons[name], np.array([_hash(value) for value in values], np.uint64))
    if selection.before is not None:
        chosen &= lessons["at"] < selection.before
    return bool(chosen.any())


def _list_conditions(selection: Selection) -> Iterable[tuple[str, Sequence[str]]]:
    if selection.request_id:
        yield "request", [selection.request_id]
    if users := [user for user in (selection.user, *selection.former_users) if user]:
        yield "user", users
    if selection.tenant:
        yield "tenant", [selection.tenant]
    if selection.caller:
        yield "caller", [selection.caller]


def _describe(row: Row) -> tuple[int, int, int, int, float]:
    asked_first = row.request_id.partition(REPEATS)[0]
    return _hash(asked_first), _hash(row.user), _hash(row.tenant), _hash(row.caller), row.at


def _hash(name: str) -> int:
    return int.from_bytes(blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


def _read(folder: Path) -> NDArray[Any]:
    path = folder / FILE
    if not path.exists():
        return np.empty(0, _LESSON)
    lessons = read_array(path)
    if lessons.dtype != _LESSON:
        raise RegistryError(f"{path} does not say whose requests were learnt: train the version again")
    return lessons
