"""Import of recorded conversations: rows by the rules of live ones, and lessons, never audits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from typing import Any

import msgspec

from gateway.confidence.agreement import canonical_text
from gateway.core import hash_text
from gateway.harvest.base import Row
from gateway.harvest.mistakes import Mistake, MistakeTally
from gateway.harvest.reader import HarvestReader
from gateway.harvest.redaction import RowRedactor
from gateway.harvest.sources import Record
from gateway.processes.harvest_access import open_harvest
from gateway.processes.imported_rows import ImportedRows
from gateway.processes.record_binder import Owner, RecordBinder
from gateway.settings import Settings
from gateway.store.audit_trail import name_local_actor
from gateway.store.home import read_audit_key
from gateway.store.state import open_state


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the records."""

    read: int
    imported: int
    copies: int
    """Of other records, or of rows that are there already."""
    failed: int
    held_out: int
    """Of those imported: not learnt, because a policy lets a certificate stand on them."""
    tasks: dict[str, int]
    errors: list[Mistake]
    """Why records failed; the first of the reasons."""


def import_records(
    records: Iterable[Record],
    settings: Settings,
    owner: Owner,
    like: Mapping[str, Any],
    *,
    is_dry_run: bool = False,
) -> Report:
    """Add `records` to the harvest as lessons, none of them as audits; may take seconds per 10,000.

    Where a policy says `imported: serve`, a share of them is held out instead: a certificate may stand on it.

    `like` has the fields of a request that records lack: the model, the system message, tools (as
    msgspec.Raw where the app's spelling is known, for a task is named by it). What
    a policy would not keep of a live request is not kept of a record. Raises ConfigError if the disk fails.
    """
    user_key = b"" if is_dry_run else _open_home(settings)
    binder = RecordBinder(settings, owner, like, user_key)
    counts: Counter[str] = Counter()
    tasks: Counter[str] = Counter()
    mistakes = MistakeTally()
    known, redactor = _Known(open_harvest(settings)), RowRedactor()
    with nullcontext() if is_dry_run else _open_rows(settings) as kept:
        for record in records:
            counts["read"] += 1
            row, error = binder.bind(record)
            if row is None:
                counts["failed"] += 1
                mistakes.add(record, error)
                row = binder.note_unlearnt(record)
            # As it will be written: what is there already was redacted, too.
            if row is not None and row.private_kinds:
                row = redactor.redact_row(row)
            if row is None:
                continue
            if known.has_copy(row):
                counts["copies"] += not error
                continue
            if not error:
                tasks[row.task] += 1
                counts["held_out"] += row.is_held_out
            if kept is not None:
                kept.put(row)
        if kept is not None:
            kept.flush()
    if not is_dry_run:
        with open_state(settings.home) as state:
            state.trail.add(name_local_actor(), "harvest import", rows=tasks.total(), tasks=[*tasks])
    return Report(
        read=counts["read"],
        imported=tasks.total(),
        copies=counts["copies"],
        failed=counts["failed"],
        held_out=counts["held_out"],
        tasks=dict(tasks),
        errors=mistakes.list_mistakes(),
    )


class _Known:
    """Lessons and imported rows that are there: a text with the same answer is not added again."""

    def __init__(self, harvest: HarvestReader) -> None:
        self._harvest = harvest
        self._known: dict[str, set[tuple[int, int]]] = {}

    def has_copy(self, row: Row) -> bool:
        """Return whether `row` is known; it is from then on."""
        if row.task not in self._known:
            rows = self._harvest.rows(row.task, with_messages=False).rows
            # Not audits, which a coin drew: they teach nothing, and records of them may.
            self._known[row.task] = {_key(one) for one in rows if not (one.is_held_out and one.propensity)}
        known, key = self._known[row.task], _key(row)
        is_copy = key in known
        known.add(key)
        return is_copy


def _open_home(settings: Settings) -> bytes:
    """Make the home if it is new, and return the key of `hash_user`."""
    settings.home.make()
    return read_audit_key(settings.home)


@contextmanager
def _open_rows(settings: Settings) -> Iterator[ImportedRows]:
    with open_state(settings.home) as state, closing(ImportedRows(settings, state)) as kept:
        yield kept


def _key(row: Row) -> tuple[int, int]:
    return hash_text(row.text), hash_text(canonical_text(row.answer))
