"""The window of evidence: dated, and brought to equal propensity.

Shadow traffic is audited at 30 %, certified traffic at 2 %. Counted alike, old traffic would weigh
fifteen times as much as today's, and a certificate would speak of a mix that is gone.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

import msgspec

from gateway.confidence.units import is_kept


class Drawn(Protocol):
    """What must be known of a held-out request to weigh it."""

    @property
    def request_id(self) -> str:
        """Unique; decides what thinning keeps."""

    @property
    def at(self) -> float:
        """Unix seconds."""

    @property
    def propensity(self) -> float:
        """The probability with which it was held out."""


DrawnT = TypeVar("DrawnT", bound=Drawn)


class Window(msgspec.Struct, Generic[DrawnT], frozen=True):
    """Held-out requests of one propensity, oldest first, and from when to when they came."""

    rows: list[DrawnT]
    propensity: float
    starts_at: float
    ends_at: float


def equal_propensity(
    rows: Sequence[DrawnT], since: float, most: int, ends_from: float = math.inf
) -> Window[DrawnT]:
    """Return the window of `rows` (oldest first) since `since` that holds the most of them.

    All rows of a window weigh alike: those that were drawn more often than its rarest are thinned.
    It begins at `since`, or where the propensity rose, and ends with the newest row, or where the
    propensity fell at or after `ends_from`, whichever leaves more; it holds at most the newest `most`.
    Which rows stay depends on their ids, times and propensities alone, never on how a specialist did on them.
    """
    recent = [row for row in rows if row.at >= since and row.propensity > 0.0]
    best, lowest = list[DrawnT](), 0.0
    for end in _ends(recent, ends_from):
        for start, lowest_after in _starts(recent[:end]):
            kept = [
                row
                for row in recent[start:end]
                if is_kept(row.request_id, lowest_after / row.propensity, b"window")
            ][-most:]
            if len(kept) > len(best):
                best, lowest = kept, lowest_after
    return Window(best, lowest, best[0].at, best[-1].at) if best else Window([], 0.0, since, since)


def _ends(rows: Sequence[Drawn], ends_from: float) -> list[int]:
    """Return where a window may end, the newest first: there, and where fewer were drawn from then on."""
    places = range(bisect_right(rows, ends_from, key=lambda row: row.at), len(rows))
    falls = [place for place in places if place and rows[place].propensity < rows[place - 1].propensity]
    return [len(rows), *reversed(falls)] if rows else []


def _starts(rows: Sequence[Drawn]) -> list[tuple[int, float]]:
    """Return where a window may begin, with the lowest propensity from there on.

    At the first row, and where the lowest propensity ahead rises.
    """
    starts = []
    lowest = float("inf")
    for place in range(len(rows) - 1, 0, -1):
        lowest = min(lowest, rows[place].propensity)
        if rows[place - 1].propensity < lowest:
            starts.append((place, lowest))
    return [(0, min(lowest, rows[0].propensity)), *starts]
