"""The grammar behind a teacher's answers, found by comparing them with their inputs."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import msgspec

from gateway.distill.recipes.span.answers import Parsed, Path, style_of
from gateway.specialists.runtimes.tagger.grammar import OMITTED, Field, Frame, Grammar, Listing, Mark
from gateway.specialists.runtimes.tagger.words import Words

MIN_ROWS = 3
"""What was seen fewer times is chance: a path, a kind of span, a value."""
_FOUND_SHARE = 0.9
"""Share of a value's answers whose inputs must hold it before it is taken from there: in fewer it
stands by chance, as a label may."""
_TAKEN_SHARE = 0.1
"""Share of a closed set's answers which must be taken from inputs, or none is."""
_REPEATED_SHARE = 0.9
_ROWS_PER_VALUE = 4


class Piece(msgspec.Struct, frozen=True):
    """A part of an answer which stands in its input: as which mark, and the characters."""

    mark: Mark
    text: str


class Example(msgspec.Struct, frozen=True):
    """An input with its words, and its answer taken apart."""

    text: str
    words: Words
    answer: Parsed


def induced(examples: Sequence[Example], frame: Frame, answers: Sequence[str]) -> Grammar:
    """Return the grammar which makes as many of the answers as it can from their inputs."""
    places: dict[Path, float] = defaultdict(float)
    counts: Counter[Path] = Counter()
    for example in examples:
        for place, path in enumerate(example.answer.leaves):
            counts[path] += 1
            places[path] += place
    # The teacher's order of keys, on average: equality does not ask for it, readers may.
    known = [path for path in counts if counts[path] >= MIN_ROWS]
    ordered = sorted(known, key=lambda path: (places[path] / counts[path], path))
    empty = Counter(path for example in examples for path in example.answer.empty if path)
    return Grammar(
        frame=frame,
        style=style_of(answers) if frame != "text" else "compact",
        fields=tuple(_field(path, examples) for path in ordered),
        objects=tuple(sorted(path for path, count in empty.items() if count >= MIN_ROWS)),
    )


def pieces(value: Any, hole: str | None, example: Example) -> list[Piece]:
    """Return the parts of `value` which stand in the input; none unless all of them do.

    `hole` is the key of the span in a list's objects.
    """
    elements = value if isinstance(value, list) else [value]
    found = [_piece(element, hole) for element in elements]
    kept = [piece for piece in found if piece and _stands(piece.text, example)]
    return kept if len(kept) == len(elements) else []


def hole_of(values: Sequence[tuple[Any, Example]]) -> str | None:
    """Return the key whose values, in lists of objects, are taken from the input; None without one."""
    seen: dict[str, list[bool]] = defaultdict(list)
    distinct: dict[str, set[str]] = defaultdict(set)
    for value, example in values:
        for element in value if isinstance(value, list) else ():
            if not isinstance(element, dict):
                continue
            for key, inner in element.items():
                text = _plain(inner)
                seen[key].append(text is not None and _stands(text, example))
                distinct[key].add(text or "")
    likely = [key for key, flags in seen.items() if sum(flags) >= _FOUND_SHARE * len(flags)]
    return max(likely, key=lambda key: len(distinct[key]), default=None)


def choice_of(value: Any) -> str:
    """Return `value` as a choice."""
    return msgspec.json.encode(value, order="deterministic").decode()


def _field(path: Path, examples: Sequence[Example]) -> Field:
    """Return the field at `path`: where its values come from, and how they are listed."""
    held = [(example.answer.leaves[path], example) for example in examples if path in example.answer.leaves]
    hole = hole_of(held)
    written = [choice_of(value) for value, _ in held]
    taken = _taken(written, [pieces(value, hole, example) for value, example in held])
    constants = Counter(value for value, found in zip(written, taken, strict=True) if not found)
    marks = Counter(mark for found in taken for mark in {piece.mark for piece in found})
    if len(held) < len(examples):
        constants[OMITTED] = max(MIN_ROWS, len(examples) - len(held))
    lists = [(value, found) for (value, _), found in zip(held, taken, strict=True) if found]
    return Field(
        path=path,
        choices=tuple(choice for choice, count in constants.most_common() if count >= MIN_ROWS),
        marks=tuple(mark for mark, count in marks.most_common() if count >= MIN_ROWS),
        listing=_listing([value for value, _ in lists]),
        is_distinct=bool(lists) and all(len(set(found)) == len(found) for _, found in lists),
    )


def _taken(written: Sequence[str], found: Sequence[list[Piece]]) -> list[list[Piece]]:
    """Return what to take from the inputs of what was `found` there, none where the value is a constant."""
    choices = Counter(written)
    standing = Counter(value for value, there in zip(written, found, strict=True) if there)
    taken = [
        there if standing[value] >= _FOUND_SHARE * choices[value] else []
        for value, there in zip(written, found, strict=True)
    ]
    if sum(map(bool, taken)) < _TAKEN_SHARE * len(taken) and _is_closed(choices):
        return [[] for _ in taken]
    return taken


def _is_closed(choices: Counter[str]) -> bool:
    repeated = sum(count for count in choices.values() if count >= MIN_ROWS)
    rows = choices.total()
    return repeated >= _REPEATED_SHARE * rows and len(choices) * _ROWS_PER_VALUE <= rows


def _listing(values: Sequence[Any]) -> Listing:
    lists = [value for value in values if isinstance(value, list)]
    if not lists:
        return "never"
    alone = sum(len(value) == 1 for value in lists)
    return "always" if alone >= len(values) - len(lists) else "several"


def _piece(element: Any, hole: str | None) -> Piece | None:
    if isinstance(element, dict):
        inner = _plain(element.get(hole)) if hole is not None else None
        if inner is None:
            return None
        around = tuple((key, "" if key == hole else choice_of(value)) for key, value in element.items())
        return Piece(Mark(around, not isinstance(element[hole], str)), inner)
    text = _plain(element)
    return None if text is None else Piece(Mark((), not isinstance(element, str)), text)


def _plain(value: Any) -> str | None:
    """Return the characters which stand for `value` in an input, None when it is no string or number."""
    if isinstance(value, str):
        return value or None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return msgspec.json.encode(value).decode() if is_number else None


def _stands(text: str, example: Example) -> bool:
    return bool(example.words.occurrences(example.text, text))
