"""Removing rows from parts for good: parts never change, so each is replaced by one without them."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from gateway.errors import StepdownError
from gateway.harvest.parts.base import Manifest, Part, Table, count_parts
from gateway.harvest.parts.columns import StoredRow
from gateway.harvest.parts.compaction import Compactor
from gateway.harvest.parts.manifests import ManifestLog
from gateway.harvest.parts.parquet import (
    LostPartError,
    count_rows,
    merge_parts,
    name_part,
    open_duckdb,
    open_scratch,
    read_rows,
)
from gateway.harvest.reader import Count
from gateway.harvest.removal import Forgotten, Selection, list_rules
from gateway.harvest.retention import DAY_S, Retention

_MOST_ATTEMPTS = 10


class PartsRemoval:
    """Removes rows from the parts of all machines. Every method may block for seconds per part."""

    def __init__(self, log: ManifestLog, writer: str) -> None:
        self._log = log
        self._writer = writer

    def find_rows(self, selection: Selection) -> list[Forgotten]:
        """Return what `forget` would remove."""
        where, parameters = selection.where()
        for _ in range(_MOST_ATTEMPTS):
            parts = _select_parts(self._log.refresh(), selection)
            try:
                return [_as_forgotten(row) for row in read_rows(parts, self._log.storage, where, parameters)]
            except LostPartError:
                continue
        raise StepdownError("harvest.parts: parts change too quickly to be read: try again")

    def forget(self, selection: Selection) -> list[Forgotten]:
        """Remove the selected rows; return what they were. Old files are deleted on return."""
        where, parameters = selection.where()
        gone: dict[str, Forgotten] = {}
        # Again until none is found: another machine may just have shipped or merged some.
        while found := self.find_rows(selection):
            gone |= {row.request_id + str(row.at): row for row in found}
            for part in _select_parts(self._log.refresh(), selection):
                self._remove(part, where, parameters, "forget")
        return list(gone.values())

    def wipe(self) -> None:
        """Delete the files that were replaced before, which may hold what is forgotten since."""
        Compactor(self._log, self._writer).delete_litter(with_replaced=True)

    def count_rows(self) -> dict[str, Count]:
        """Return how many rows each task has in parts."""
        return count_parts(self._log.refresh().parts.values())

    def prune(self, retention: Retention, now: float) -> int:
        """Remove the rows that may be kept no longer; return how many."""
        removed = 0
        for part in list(self._log.refresh().parts.values()):
            if retention.keep_days is not None and part.newest_at <= now - retention.keep_days * DAY_S:
                removed += self._drop(part)
            elif _is_due(part, retention, now):
                rules = list_rules(retention, now)
                where = " OR ".join(f"({rule})" for rule, _ in rules)
                values = [value for _, some in rules for value in some]
                removed += self._remove(part, where, values, "prune")
        return removed + (self._prune_size(retention.max_mb << 20) if retention.max_mb is not None else 0)

    def _prune_size(self, limit_bytes: int) -> int:
        """Drop the oldest parts until the rest takes no more than `limit_bytes`."""
        parts = self._log.refresh().select()
        size = sum(part.size_bytes for part in parts)
        removed = 0
        for part in parts:
            if size <= limit_bytes:
                break
            removed += self._drop(part)
            size -= part.size_bytes
        return removed

    def _remove(self, part: Part, where: str, parameters: Sequence[object], what: str) -> int:
        """Replace `part` by one without the rows that meet the condition; return how many those were."""
        storage = self._log.storage
        path = name_part(part.task, part.day, self._writer)
        with open_scratch() as target, open_duckdb() as connection:
            try:
                if not count_rows(connection, part, storage, where, parameters):
                    return 0
                located = [(part, storage.locate(part.path))]
                rest = merge_parts(
                    connection, located, target, path, without=f"({where})", parameters=parameters
                )
            except LostPartError:
                return 0
            if rest is not None:
                storage.upload(target, path)
        return self._replace(part, rest, what)

    def _drop(self, part: Part) -> int:
        return self._replace(part, None, "prune")

    def _replace(self, part: Part, rest: Part | None, what: str) -> int:
        kept = rest.count if rest else Count()
        removed = Count(part.count.training - kept.training, part.count.held_out - kept.held_out)
        manifest = msgspec.structs.replace(
            self._log.create_manifest(what),
            adds=(rest,) if rest else (),
            removes=(part.path,),
            removed={part.task: removed},
        )

        def replace(table: Table) -> Manifest | None:
            return manifest if part.path in table.parts else None

        if not self._log.commit(replace):
            if rest:
                self._log.storage.delete(rest.path)
            return 0
        self._log.storage.delete(part.path)
        return part.rows - (rest.rows if rest else 0)


def _select_parts(table: Table, selection: Selection) -> list[Part]:
    parts = table.select(selection.task or None)
    return [part for part in parts if selection.before is None or part.oldest_at < selection.before]


def _is_due(part: Part, retention: Retention, now: float) -> bool:
    """Whether a row of `part` may be over its time."""
    limits = [days for policy, days in retention.by_policy.items() if policy in part.policies]
    if retention.keep_days is not None:
        limits.append(retention.keep_days)
    is_expired = part.first_expiry is not None and part.first_expiry <= now
    return is_expired or any(part.oldest_at <= now - days * DAY_S for days in limits)


def _as_forgotten(found: StoredRow) -> Forgotten:
    row = found.row
    return Forgotten(row.request_id, row.at, row.task, row.text, row.is_held_out)
