"""Independent units: which audits count, so that no burst and no caller counts more than its part.

The binomial test and the e-detector need draws that are independent given the past. Copies of a
text within a minute are held out together, so they are one draw. A caller that the operator does
not vouch for may repeat a text to be counted again, so its text counts once a day. Where several
callers share a task none gives more than its share of a window: the units divided by the effective
number of callers, 1 / sum of their squared shares. A lone caller is not capped, and a second one that
asks once does not halve the evidence.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from hashlib import blake2b
from typing import Protocol, TypeVar

MINUTE_S = 60.0
DAY_S = 86_400.0
RECENT_UNITS = 200
"""Units over which the alarm looks at the callers' shares."""


class Audited(Protocol):
    """What must be known of an audited request to count it."""

    @property
    def request_id(self) -> str:
        """Unique; decides what thinning keeps."""

    @property
    def at(self) -> float:
        """Unix seconds."""

    @property
    def text_hash(self) -> int:
        """The hash of what varied in the request."""

    @property
    def caller(self) -> str:
        """Who asked."""

    @property
    def is_vouched_for(self) -> bool:
        """Whether the operator trusts this caller."""


AuditedT = TypeVar("AuditedT", bound=Audited)


def independent_units(audits: Sequence[AuditedT], *, once_per_text: bool = False) -> list[AuditedT]:
    """Return the units among `audits` (in the order of time), in the same order.

    `once_per_text`: a text counts once in the whole window. Among texts that the student has not
    learnt, those asked often are left over only where the coin fell alike each time: a cluster.
    """
    units = _first_of_each(audits, once_per_text=once_per_text)
    counts = Counter(unit.caller for unit in units)
    share = _share_of_a_caller(counts)
    return [unit for unit in units if is_kept(unit.request_id, share / counts[unit.caller], b"caller")]


class UnitFilter:
    """Says of each audit of a stream, in the order of time, whether it is a unit of its own."""

    def __init__(self, recent: int = RECENT_UNITS) -> None:
        self._recent: deque[str] = deque(maxlen=recent)
        self._counts: Counter[str] = Counter()
        self._seen: dict[tuple[int, int, bool], float] = {}

    def admit(self, audit: Audited) -> bool:
        """Return whether `audit` counts, and remember it."""
        key = _key(audit)
        if key in self._seen:
            return False
        self._seen[key] = audit.at
        self._forget_before(audit.at - DAY_S)
        self._note_caller(audit.caller)
        # Also what is left out stands in the window: else a caller over its share would stay over it.
        probability = _share_of_a_caller(self._counts) / self._counts[audit.caller]
        return is_kept(audit.request_id, probability, b"caller")

    def _note_caller(self, caller: str) -> None:
        if len(self._recent) == self._recent.maxlen:
            oldest = self._recent[0]
            self._counts[oldest] -= 1
            if not self._counts[oldest]:
                del self._counts[oldest]
        self._recent.append(caller)
        self._counts[caller] += 1

    def _forget_before(self, at: float) -> None:
        """Forget keys that can no longer repeat; they stand in the order of time."""
        while self._seen:
            oldest = next(iter(self._seen))
            if self._seen[oldest] >= at:
                return
            del self._seen[oldest]


def is_kept(request_id: str, probability: float, purpose: bytes) -> bool:
    """Return whether thinning for `purpose` keeps a request: the same answer every time.

    A larger probability keeps all that a smaller one kept; two purposes draw independently.
    """
    digest = blake2b(request_id.encode(), digest_size=8, person=purpose).digest()
    return int.from_bytes(digest) < probability * 2.0**64


def _share_of_a_caller(counts: Counter[str]) -> float:
    """Return how many units one caller may give; all of them if it is alone."""
    total = sum(counts.values())
    return sum(count * count for count in counts.values()) / total if total else 0.0


def _first_of_each(audits: Sequence[AuditedT], *, once_per_text: bool) -> list[AuditedT]:
    seen: set[object] = set()
    units = []
    for audit in audits:
        key = audit.text_hash if once_per_text else _key(audit)
        if key not in seen:
            seen.add(key)
            units.append(audit)
    return units


def _key(audit: Audited) -> tuple[int, int, bool]:
    span = MINUTE_S if audit.is_vouched_for else DAY_S
    return audit.text_hash, int(audit.at // span), audit.is_vouched_for
