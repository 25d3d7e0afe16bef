"""Parts, the manifests that name them, and the table that these add up to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from gateway.errors import ConfigError
from gateway.harvest.reader import Count

FORMAT = 1
"""Of manifests. A newer one is refused."""


class Span(msgspec.Struct, frozen=True):
    """The numbers of the rows that a part has of one outbox, first and last."""

    outbox: str
    first: int
    last: int


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One Parquet file: rows of one task and day (UTC). It never changes; it is replaced."""

    path: str
    schema: int
    """Of its columns, see `columns`."""
    task: str
    day: str
    rows: int
    count: Count
    oldest_at: float
    newest_at: float
    first_expiry: float | None = None
    policies: tuple[str, ...] = ()
    size_bytes: int
    sha256: str
    spans: tuple[Span, ...]


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """One change of the table; once it is there, it is done."""

    format: int = FORMAT
    id: str
    at: float
    what: str
    """For readers of the folder: ship, compact, prune, forget."""
    is_whole: bool = False
    """Whether it is the whole table, not a change: no manifest before it need be read."""
    adds: tuple[Part, ...] = ()
    removes: tuple[str, ...] = ()
    """Paths of parts that count no more."""
    shipped: dict[str, int] = {}
    """By outbox, the number of its last row that is in parts, or was."""
    removed: dict[str, Count] = {}
    """By task, the lessons and the evidence that were pruned or forgotten."""


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """All that the manifests up to `number` say; 0 for none."""

    number: int = 0
    parts: Mapping[str, Part] = {}
    shipped: Mapping[str, int] = {}
    removed: Mapping[str, Count] = {}

    def select(self, task: str | None = None, since: float = 0.0) -> list[Part]:
        """Return the parts with rows of `task` since then, oldest first."""
        chosen = (part for part in self.parts.values() if task in (None, part.task))
        return sorted((part for part in chosen if part.newest_at >= since), key=lambda one: one.oldest_at)


def apply_manifest(table: Table, manifest: Manifest) -> Table:
    """Return the table after one more manifest. Raises ConfigError for one of a newer stepdown."""
    if manifest.format > FORMAT:
        raise ConfigError(f"manifest {table.number + 1} was written by a newer stepdown: upgrade this one")
    number = table.number + 1
    if manifest.is_whole:
        table = Table()
    parts = {path: part for path, part in table.parts.items() if path not in manifest.removes}
    parts |= {part.path: part for part in manifest.adds}
    return Table(
        number=number,
        parts=parts,
        shipped={**table.shipped, **manifest.shipped},
        removed=add_counts(table.removed, manifest.removed),
    )


def describe_whole(table: Table, manifest: Manifest) -> Manifest:
    """Return `manifest` as the whole table that it leads to from `table`."""
    after = apply_manifest(table, manifest)
    return msgspec.structs.replace(
        manifest,
        is_whole=True,
        adds=tuple(after.parts.values()),
        shipped=dict(after.shipped),
        removed=dict(after.removed),
    )


def add_counts(one: Mapping[str, Count], other: Mapping[str, Count]) -> dict[str, Count]:
    """Return the sums by task."""
    return {task: one.get(task, Count()) + other.get(task, Count()) for task in {*one, *other}}


def count_parts(parts: Iterable[Part]) -> dict[str, Count]:
    """Return how many rows each task has in `parts`."""
    counts: dict[str, Count] = {}
    for part in parts:
        counts[part.task] = counts.get(part.task, Count()) + part.count
    return counts
