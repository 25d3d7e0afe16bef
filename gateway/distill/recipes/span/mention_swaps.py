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

SHARE = 0.5
"""Of the rows, and in these of the values that they mention."""

Mentions = Mapping[int, Sequence["Mention"]]
"""The values that rows mention, by the tag of their first word; each once."""


class Mention(msgspec.Struct, frozen=True):
    """A value as an input mentions it: its token ids, and where in them its words begin."""

    ids: tuple[int, ...]
    heads: tuple[int, ...]


class _Place(msgspec.Struct, frozen=True):
    """Where a row mentions a value: words [first, last]; `tag` is that of the first."""

    first: int
    last: int
    tag: int


def list_mentions(targets: Sequence[Target]) -> Mentions:
    """Return the values that `targets` mention, in the order of their first occurrence."""
    found: dict[int, dict[Mention, None]] = defaultdict(dict)
    for target in targets:
        for place in _find_places(target):
            found[place.tag][_read_mention(target, place)] = None
    return {tag: list(mentions) for tag, mentions in found.items()}


def swap_mentions(target: Target, mentions: Mentions, draw: random.Random, most_tokens: int) -> Target:
    """Return `target`, or, for some, the same row with other values; where it mentions one twice, twice.

    As it was if it would have more than `most_tokens`.
    """
    places = list(_find_places(target)) if draw.random() < SHARE else []
    chosen: dict[tuple[int, Mention], Mention] = {}
    ids: list[int] = []
    heads: list[int] = []
    tags: list[int] = []
    word = token = 0
    for place in [*places, None]:
        until = place.first if place else len(target.heads)
        end = target.heads[place.first] if place else len(target.ids)
        heads += [len(ids) + head - token for head in target.heads[word:until]]
        tags += target.tags[word:until]
        ids += target.ids[token:end]
        if place:
            old = _read_mention(target, place)
            if (place.tag, old) not in chosen:
                chosen[place.tag, old] = draw.choice(mentions[place.tag]) if draw.random() < SHARE else old
            new = chosen[place.tag, old]
            heads += [len(ids) + head for head in new.heads]
            tags += [place.tag] + [place.tag + 1] * (len(new.heads) - 1)
            ids += new.ids
            word, token = place.last + 1, end + len(old.ids)
    return target if len(ids) > most_tokens else Target(ids, heads, tags, target.options)


def _find_places(target: Target) -> Iterator[_Place]:
    """Yield where `target` mentions values, in its order: B- tags are odd, I- is the next number."""
    word = 0
    while word < len(target.tags):
        first, tag = word, target.tags[word]
        word += 1
        if tag % 2:
            while word < len(target.tags) and target.tags[word] == tag + 1:
                word += 1
            yield _Place(first, word - 1, tag)


def _read_mention(target: Target, place: _Place) -> Mention:
    begin = target.heads[place.first]
    # The last token ends the text and belongs to no word.
    ends = [*target.heads[1:], len(target.ids) - 1]
    ids = tuple(target.ids[begin : ends[place.last]])
    return Mention(ids, tuple(head - begin for head in target.heads[place.first : place.last + 1]))
