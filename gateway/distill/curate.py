"""From harvested rows to training rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from gateway.confidence.agreement import canonical_text
from gateway.harvest.base import Row


class Curated(msgspec.Struct, frozen=True, kw_only=True):
    """Rows in the order of time; `conflicts` counts training texts answered in two ways."""

    training: list[Row]
    conflicts: int


def curate(training: Sequence[Row]) -> Curated:
    """Return what to learn: each text once, in canonical form, with its latest answer."""
    return Curated(training=list(_latest(training).values()), conflicts=_conflicts(training))


def _latest(rows: Sequence[Row]) -> dict[str, Row]:
    """Return the last row of each canonical text, in the order of time."""
    latest: dict[str, Row] = {}
    for row in rows:
        text = canonical_text(row.text)
        latest.pop(text, None)
        latest[text] = row
    return latest


def _conflicts(rows: Sequence[Row]) -> int:
    pairs = {(canonical_text(row.text), canonical_text(row.answer)) for row in rows}
    return sum(count > 1 for count in Counter(text for text, _ in pairs).values())
