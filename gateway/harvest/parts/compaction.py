"""Compaction: small parts of one task and day become one, and files that nothing names are deleted."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence

import msgspec

from gateway.harvest.parts.base import Part, Table
from gateway.harvest.parts.manifests import ManifestLog
from gateway.harvest.parts.parquet import (
    FOLDER,
    LostPartError,
    locate_parts,
    merge_parts,
    name_part,
    open_duckdb,
    open_scratch,
)

FAN_IN = 8
"""Parts of about one size that are merged; each row is written again once per eightfold size."""
LARGEST_BYTES = 128 << 20
"""Parts of this size are left alone."""
LITTER_AFTER_S = 86_400.0
"""A part that is just being written has no name yet; after a day it is what a killed process left."""
REPLACED_FOR_S = 600.0
"""Replaced parts stay for those who are reading them."""
_SMALLEST_BYTES = 64 << 10
_MOST_AT_ONCE = 64


class Compactor:
    """Tidies a storage. Several machines may at once: who comes second drops what it has done."""

    def __init__(self, log: ManifestLog, writer: str, clock: Callable[[], float] = time.time) -> None:
        self._log = log
        self._writer = writer
        self._clock = clock
        self._replaced: deque[tuple[float, str]] = deque()

    def compact(self) -> int:
        """Merge what is many and small; return how many parts were replaced."""
        self._delete_replaced()
        replaced = 0
        for group in _list_groups(self._log.refresh().parts.values()):
            replaced += self._merge(group)
        return replaced

    def delete_litter(self, *, with_replaced: bool = False) -> int:
        """Delete files that no manifest names, and manifests that none needs; return how many.

        Those of this very writer go at any age: it is not writing. `with_replaced`: so do those that were
        named once, though a reader may still need them.
        """
        listed = self._log.storage.list_files(FOLDER)
        named = self._log.refresh().parts
        replaced = self._log.list_replaced() if with_replaced else set()
        litter = [
            path for path in listed if path not in named and (path in replaced or self._is_litter(path))
        ]
        for path in litter:
            self._log.storage.delete(path)
        return len(litter) + self._log.delete_old()

    def _merge(self, parts: Sequence[Part]) -> int:
        storage = self._log.storage
        with open_scratch() as target, open_duckdb() as connection:
            path = name_part(parts[0].task, parts[0].day, self._writer)
            try:
                merged = merge_parts(connection, locate_parts(connection, parts, storage), target, path)
            except LostPartError:
                return 0
            storage.upload(target, path)
        manifest = msgspec.structs.replace(
            self._log.create_manifest("compact"),
            adds=(merged,) if merged else (),
            removes=tuple(part.path for part in parts),
        )
        if not self._log.commit(lambda table: manifest if _are_live(table, parts) else None):
            storage.delete(path)
            return 0
        now = self._clock()
        self._replaced += [(now, part.path) for part in parts]
        return len(parts)

    def _delete_replaced(self) -> None:
        while self._replaced and self._replaced[0][0] < self._clock() - REPLACED_FOR_S:
            self._log.storage.delete(self._replaced.popleft()[1])

    def _is_litter(self, path: str) -> bool:
        if path.rpartition("/")[2].startswith(f"{self._writer}-"):
            return True
        try:
            return self._log.storage.modified_at(path) < self._clock() - LITTER_AFTER_S
        except FileNotFoundError:
            return False


def _list_groups(parts: Iterable[Part]) -> list[list[Part]]:
    """Return the groups of parts that are worth merging, oldest rows first in each."""
    groups: dict[tuple[str, str, int], list[Part]] = {}
    for part in sorted(parts, key=lambda one: one.oldest_at):
        if part.size_bytes < LARGEST_BYTES:
            groups.setdefault((part.task, part.day, _tier_of(part)), []).append(part)
    return [group[:_MOST_AT_ONCE] for group in groups.values() if len(group) >= FAN_IN]


def _tier_of(part: Part) -> int:
    """Return the power of eight of a part's size."""
    return (part.size_bytes // _SMALLEST_BYTES).bit_length() // 3


def _are_live(table: Table, parts: Iterable[Part]) -> bool:
    return all(part.path in table.parts for part in parts)
