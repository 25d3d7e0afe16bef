"""From a reader's cursor to the rows in parts that it has not seen.

A row is read from its outbox or from a part, wherever it is when the reader comes. Of a file of this machine
the cursor counts by the file's name, in parts as in the outbox; of others by the outbox's own name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from gateway.harvest.origins import Origin
from gateway.harvest.parts.base import Part, Span, Table
from gateway.harvest.reader import Cursor


class Wanted(msgspec.Struct, frozen=True):
    """The rows in parts that a cursor has not reached, and the cursor that has."""

    spans: list[Span]
    cursor: dict[str, int]

    def covers(self, part: Part) -> bool:
        """Whether `part` may have one of the rows."""
        return any(
            span.outbox == other.outbox and span.first <= other.last and other.first <= span.last
            for span in self.spans
            for other in part.spans
        )

    def where(self) -> tuple[str, list[object]]:
        """Return the SQL condition of the rows, and its parameters."""
        clause = " OR ".join("outbox = ? AND number BETWEEN ? AND ?" for _ in self.spans)
        return f"({clause or 'false'})", [
            value for span in self.spans for value in (span.outbox, span.first, span.last)
        ]


def find_wanted(table: Table, files: Mapping[str, Sequence[Origin]], after: Cursor) -> Wanted:
    """Return what `table` has beyond the cursor `after`; `files` has the names of this machine's outboxes."""
    local = {origin.name: (file, origin) for file, origins in files.items() for origin in origins}
    wanted = Wanted([], {})
    for name, shipped in table.shipped.items():
        if name not in local:
            _add(wanted, name, Span(name, after.get(name, 0) + 1, shipped))
            continue
        file, origin = local[name]
        first = max(after.get(file, 0) + 1, origin.first)
        _add(wanted, file, Span(name, first, min(shipped, origin.last)))
        # This file is a copy: beyond the last number of the name come the rows of the original.
        _add(wanted, name, Span(name, max(after.get(name, 0), origin.last) + 1, shipped))
    return wanted


def _add(wanted: Wanted, key: str, span: Span) -> None:
    if span.first <= span.last:
        wanted.spans.append(span)
        wanted.cursor[key] = max(wanted.cursor.get(key, 0), span.last)
