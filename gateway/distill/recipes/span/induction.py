"""The grammar behind a teacher's answers, found by comparing them with their inputs."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import msgspec

from gateway.distill.recipes.span.answer_parsing import KeyPath, ParsedAnswer, find_style
from gateway.specialists.runtimes.tagger.grammar import OMITTED, Field, Frame, Grammar, Listing, SpanType
from gateway.specialists.runtimes.tagger.words import Words

MIN_ROWS = 3
"""Anything seen fewer times is chance: a path, a type of span, a constant."""
_FOUND_SHARE = 0.9
"""Share of the answers with a value that must have it in their inputs before it is copied from there: in
fewer it stands by chance, as a label may."""
_COPIED_SHARE = 0.1
"""Share of the answers from a closed set that must be copied from inputs, or none is."""
_REPEATED_SHARE = 0.9
_ROWS_PER_VALUE = 4


class CopiedValue(msgspec.Struct, frozen=True):
    """A part of an answer that stands in its input: the type of the span, and its characters."""

    span_type: SpanType
    text: str


class ParsedRow(msgspec.Struct, frozen=True):
    """An input with its words, and its answer in parts."""

    text: str
    words: Words
    answer: ParsedAnswer


def induce_grammar(rows: Sequence[ParsedRow], frame: Frame, answers: Sequence[str]) -> Grammar:
    """Return the grammar that rebuilds as many of the answers as it can from their inputs."""
    places: dict[KeyPath, float] = defaultdict(float)
    counts: Counter[KeyPath] = Counter()
    for row in rows:
        for place, path in enumerate(row.answer.leaves):
            counts[path] += 1
            places[path] += place
    # The teacher's order of keys, on average: equality does not ask for it, readers may.
    known = [path for path in counts if counts[path] >= MIN_ROWS]
    ordered = sorted(known, key=lambda path: (places[path] / counts[path], path))
    empty = Counter(path for row in rows for path in row.answer.empty if path)
    return Grammar(
        frame=frame,
        style=find_style(answers) if frame != "text" else "compact",
        fields=tuple(_induce_field(path, rows) for path in ordered),
        objects=tuple(sorted(path for path, count in empty.items() if count >= MIN_ROWS)),
    )


def find_copied(value: Any, slot: str | None, row: ParsedRow) -> list[CopiedValue]:
    """Return the parts of `value` that stand in the input; none unless all of them do.

    `slot` is the key of the copied value in a list's objects.
    """
    elements = value if isinstance(value, list) else [value]
    found = [_as_copied(element, slot) for element in elements]
    kept = [copied for copied in found if copied and _is_in_input(copied.text, row)]
    return kept if len(kept) == len(elements) else []


def find_slot(values: Sequence[tuple[Any, ParsedRow]]) -> str | None:
    """Return the key with values that are, in lists of objects, copied from the input; None without one."""
    flags_by_key: dict[str, list[bool]] = defaultdict(list)
    distinct: dict[str, set[str]] = defaultdict(set)
    for value, row in values:
        for element in value if isinstance(value, list) else ():
            if not isinstance(element, dict):
                continue
            for key, inner in element.items():
                text = _as_text(inner)
                flags_by_key[key].append(text is not None and _is_in_input(text, row))
                distinct[key].add(text or "")
    likely = [key for key, flags in flags_by_key.items() if sum(flags) >= _FOUND_SHARE * len(flags)]
    return max(likely, key=lambda key: len(distinct[key]), default=None)


def encode_choice(value: Any) -> str:
    """Return the choice that stands for the constant `value`."""
    return msgspec.json.encode(value, order="deterministic").decode()


def _induce_field(path: KeyPath, rows: Sequence[ParsedRow]) -> Field:
    """Return the field at `path`: where its values come from, and how they are listed."""
    held = [(row.answer.leaves[path], row) for row in rows if path in row.answer.leaves]
    slot = find_slot(held)
    written = [encode_choice(value) for value, _ in held]
    copied = _choose_copied(written, [find_copied(value, slot, row) for value, row in held])
    constants = Counter(value for value, found in zip(written, copied, strict=True) if not found)
    types = Counter(span_type for found in copied for span_type in {one.span_type for one in found})
    if len(held) < len(rows):
        constants[OMITTED] = max(MIN_ROWS, len(rows) - len(held))
    lists = [(value, found) for (value, _), found in zip(held, copied, strict=True) if found]
    return Field(
        path=path,
        choices=tuple(choice for choice, count in constants.most_common() if count >= MIN_ROWS),
        span_types=tuple(span_type for span_type, count in types.most_common() if count >= MIN_ROWS),
        listing=_find_listing([value for value, _ in lists]),
        is_distinct=bool(lists) and all(len(set(found)) == len(found) for _, found in lists),
    )


def _choose_copied(written: Sequence[str], found: Sequence[list[CopiedValue]]) -> list[list[CopiedValue]]:
    """Return what to copy from the inputs of what was `found` there, none where the value is a constant."""
    rows_by_value = Counter(written)
    found_by_value = Counter(value for value, there in zip(written, found, strict=True) if there)
    copied = [
        there if found_by_value[value] >= _FOUND_SHARE * rows_by_value[value] else []
        for value, there in zip(written, found, strict=True)
    ]
    if sum(map(bool, copied)) < _COPIED_SHARE * len(copied) and _is_closed(rows_by_value):
        return [[] for _ in copied]
    return copied


def _is_closed(rows_by_value: Counter[str]) -> bool:
    repeated = sum(count for count in rows_by_value.values() if count >= MIN_ROWS)
    rows = rows_by_value.total()
    return repeated >= _REPEATED_SHARE * rows and len(rows_by_value) * _ROWS_PER_VALUE <= rows


def _find_listing(values: Sequence[Any]) -> Listing:
    lists = [value for value in values if isinstance(value, list)]
    if not lists:
        return "never"
    alone = sum(len(value) == 1 for value in lists)
    return "always" if alone >= len(values) - len(lists) else "several"


def _as_copied(element: Any, slot: str | None) -> CopiedValue | None:
    if isinstance(element, dict):
        inner = _as_text(element.get(slot)) if slot is not None else None
        if inner is None:
            return None
        around = tuple((key, "" if key == slot else encode_choice(value)) for key, value in element.items())
        return CopiedValue(SpanType(around, not isinstance(element[slot], str)), inner)
    text = _as_text(element)
    return None if text is None else CopiedValue(SpanType((), not isinstance(element, str)), text)


def _as_text(value: Any) -> str | None:
    """Return the characters that stand for `value` in an input, None if it is no string or number."""
    if isinstance(value, str):
        return value or None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return msgspec.json.encode(value).decode() if is_number else None


def _is_in_input(text: str, row: ParsedRow) -> bool:
    return bool(row.words.find_value(row.text, text))
