"""A teacher's answers in parts: the frame around them, and the value at each path."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from gateway.specialists.runtimes.tagger.grammar import Frame, Style

KeyPath = tuple[str, ...]
"""The keys that lead to a place in an answer."""

_CALL_OPEN, _CALL_CLOSE = "<tool_call>", "</tool_call>"
_MOST = 0.5


class ParsedAnswer(msgspec.Struct, frozen=True):
    """One answer: its leaves by path (a list is a leaf), and the paths of its empty objects."""

    leaves: dict[KeyPath, Any]
    empty: frozenset[KeyPath]


def find_frame(answers: Sequence[str]) -> Frame:
    """Return the frame of most of the `answers`."""
    counts = Counter(_frame(answer) for answer in answers)
    return next((frame for frame in ("json", "tool_call") if counts[frame] > _MOST * len(answers)), "text")


def parse_answer(answer: str, frame: Frame) -> ParsedAnswer | None:
    """Return `answer` in parts, None if it is not in that `frame`."""
    if frame == "text":
        return ParsedAnswer({(): answer}, frozenset())
    if _frame(answer) != frame:
        return None
    leaves: dict[KeyPath, Any] = {}
    empty = set()
    for path, value in _walk((), msgspec.json.decode(_strip_frame(answer))):
        if value == {}:
            empty.add(path)
        else:
            leaves[path] = value
    return ParsedAnswer(leaves, frozenset(empty))


def find_style(answers: Sequence[str]) -> Style:
    """Return how most of the `answers` write JSON; of none, compactly."""
    counts: Counter[Style] = Counter()
    for answer in answers:
        text = _strip_frame(answer)
        if "\n" in text:
            counts["indented"] += 1
        else:
            counts["spaced" if '": ' in text or '", ' in text else "compact"] += 1
    return max(counts, key=lambda style: counts[style], default="compact")


def _frame(answer: str) -> Frame:
    text = answer.strip()
    frame: Frame = "tool_call" if text.startswith(_CALL_OPEN) else "json"
    try:
        value = msgspec.json.decode(_strip_frame(text))
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return "text"
    return frame if isinstance(value, dict | list) else "text"


def _strip_frame(answer: str) -> str:
    return answer.strip().removeprefix(_CALL_OPEN).removesuffix(_CALL_CLOSE).strip()


def _walk(path: KeyPath, value: Any) -> Iterator[tuple[KeyPath, Any]]:
    if not isinstance(value, dict) or not value:
        yield path, value
        return
    for key, inner in value.items():
        yield from _walk((*path, key), inner)
