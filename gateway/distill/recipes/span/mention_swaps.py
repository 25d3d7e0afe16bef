"""More lessons from the same rows: a value that an input mentions gives way to one of another row.

1,500 rows of SNIPS as JSON, two seeds: 22.8 % of other rows wrong instead of 24.1, and 55 % served at 5 %
instead of 47; 2,400 rows of biomed_ner: no difference (loadtests/README.md).
Source: Dai and Adel 2020, "An analysis of simple data augmentation for named entity recognition",
arXiv 2010.11683, "mention replacement".
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from gateway.distill.recipes.span.dataset import Target
from gateway.specialists.runtimes.tagger.grammar import find_spans

SHARE = 0.5
"""Of the rows, and in these of the values that they mention."""

Mentions = Mapping[int, Sequence["Piece"]]
"""The values that rows mention, by the tag of their first word; each once."""


class Piece(msgspec.Struct, frozen=True):
    """A part of an input: its token ids, and where in them its words begin."""

    ids: tuple[int, ...]
    heads: tuple[int, ...]


def list_mentions(targets: Sequence[Target]) -> Mentions:
    """Return the values that `targets` mention, in the order of their first occurrence."""
    found: dict[int, dict[Piece, None]] = defaultdict(dict)
    for target in targets:
        for tag, piece in _cut_pieces(target):
            if tag:
                found[tag][piece] = None
    return {tag: list(mentions) for tag, mentions in found.items()}


def swap_mentions(target: Target, mentions: Mentions, draw: random.Random, most_tokens: int) -> Target:
    """Return `target`, or, for some, the same row with other values; where it mentions one twice, twice.

    As it was if it would have more than `most_tokens`.
    """
    if draw.random() >= SHARE:
        return target
    chosen: dict[tuple[int, Piece], Piece] = {}
    swapped = Target(ids=[], heads=[], tags=[], options=target.options)
    for tag, old in _cut_pieces(target):
        if tag and (tag, old) not in chosen:
            chosen[tag, old] = draw.choice(mentions[tag]) if draw.random() < SHARE else old
        new = chosen.get((tag, old), old)
        swapped.heads.extend(len(swapped.ids) + head for head in new.heads)
        further = tag + 1 if tag else 0
        swapped.tags.extend(further if number else tag for number in range(len(new.heads)))
        swapped.ids.extend(new.ids)
    return target if len(swapped.ids) > most_tokens else swapped


def _cut_pieces(target: Target) -> Iterator[tuple[int, Piece]]:
    """Yield the values that `target` mentions and what is between them, each with its first word's tag."""
    # The last token ends the text and belongs to no word.
    ends = [*target.heads[1:], len(target.ids) - 1]
    at = 0
    for span in find_spans(target.tags, target.heads, ends):
        yield 0, _read_piece(target, at, span.start)
        yield 1 + 2 * span.span_type, _read_piece(target, span.start, span.end)
        at = span.end
    yield 0, _read_piece(target, at, len(target.ids))


def _read_piece(target: Target, begin: int, end: int) -> Piece:
    heads = tuple(head - begin for head in target.heads if begin <= head < end)
    return Piece(tuple(target.ids[begin:end]), heads)
