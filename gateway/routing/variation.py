"""How a near copy of a template differs from it: in a date or an id, or in words that may matter."""

from __future__ import annotations

import re
from itertools import takewhile

import msgspec

_MONTH = (
    "(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|"
    "sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)"
)
_VOLATILE = (
    ("uuid", r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b"),
    ("email", r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+\b"),
    ("url", r"\bhttps?://\S+"),
    ("date", r"\b\d{4}[-/.]\d{1,2}[-/.]\d{1,2}\b|\b\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}\b"),
    (
        "day",
        rf"\b{_MONTH}\.? \d{{1,2}}(?:st|nd|rd|th)?(?:,? \d{{4}})?\b|\b\d{{1,2}}\.? {_MONTH}(?: \d{{4}})?\b",
    ),
    ("month", rf"\b{_MONTH} \d{{4}}\b"),
    ("weekday", r"\b(?:mon|tues|wednes|thurs|fri|satur|sun)day\b"),
    ("time", r"\b\d{1,2}:\d{2}(?::\d{2})?(?:\s?[ap]m)?\b"),
    ("id", r"\b(?=\w*\d)(?=\w*[a-z_])[\w-]{8,}\b"),
)
_PATTERN = re.compile("|".join(f"(?P<{name}>{pattern})" for name, pattern in _VOLATILE), re.IGNORECASE)
_CONTEXT = 3
"""Words: as many as the longest date has."""


class Variation(msgspec.Struct, frozen=True):
    """Where a copy differs. `is_volatile`: only in dates, times, ids, addresses.

    `place` counts the words before and after those that differ: copies that differ at the same
    place, such as in a user's name, have the same.
    """

    is_volatile: bool
    place: str


def compare_templates(own: str, copy: str) -> Variation:
    """Return how `copy` differs from the task's `own` template."""
    ours, theirs = own.split(), copy.split()
    head, tail = _common_ends(ours, theirs)
    # A date may begin in the words that both share ("May 3", "May 4").
    head, tail = max(0, head - _CONTEXT), max(0, tail - _CONTEXT)
    ours, theirs = _inside(ours, head, tail), _inside(theirs, head, tail)
    if ours == theirs:
        return Variation(is_volatile=True, place="")
    more_head, more_tail = _common_ends(ours, theirs)
    return Variation(is_volatile=False, place=f"{head + more_head}-{tail + more_tail}")


def _common_ends(ours: list[str], theirs: list[str]) -> tuple[int, int]:
    """Return how many words both begin and end with; the end never overlaps the beginning."""
    head = _common(ours, theirs)
    most = min(len(ours), len(theirs)) - head
    return head, min(_common(ours[::-1], theirs[::-1]), most)


def _common(ours: list[str], theirs: list[str]) -> int:
    pairs = zip(ours, theirs, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _inside(words: list[str], head: int, tail: int) -> list[str]:
    """Return the words between the ends, with what is known to vary under one name."""
    return _PATTERN.sub(_name, " ".join(words[head : len(words) - tail])).split()


def _name(found: re.Match[str]) -> str:
    # As many words as before, so that places can be compared.
    return " ".join([f"<{found.lastgroup}>"] * len(found[0].split()))
