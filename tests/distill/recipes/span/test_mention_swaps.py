"""A row whose values gave way to others is a row of the same form, with the words of the others."""

from __future__ import annotations

import random
from typing import Any

from gateway.distill.recipes.span.dataset import Dataset, Target, build_dataset
from gateway.distill.recipes.span.mention_swaps import Mentions, list_mentions, swap_mentions
from gateway.specialists.encoders.minilm import build_tokenizer

TOKENIZER = build_tokenizer()
ROOM = 64


class Always(random.Random):
    """Swaps every value, for the last one that there is."""

    def random(self) -> float:
        return 0.0

    def choice(self, seq: Any) -> Any:
        return seq[-1]


class Never(random.Random):
    """Swaps no value."""

    def random(self) -> float:
        return 1.0


def learn(pairs: dict[str, str]) -> tuple[Dataset, Mentions]:
    dataset = build_dataset(list(pairs), list(pairs.values()), TOKENIZER, ROOM)
    assert len(dataset.rows) == len(pairs)
    return dataset, list_mentions(dataset.targets)


def read(target: Target) -> str:
    return str(TOKENIZER.decode(target.ids))


def calls(*names: str) -> dict[str, str]:
    return {f"call {name} now": f'{{"who":"{name}"}}' for name in names}


def test_another_value_takes_the_place_of_one_with_its_words_and_tags() -> None:
    dataset, mentions = learn(calls("ada", "bob", "cyd", "dan", "mary jane watson"))

    swapped = swap_mentions(dataset.targets[0], mentions, Always(), ROOM)

    assert read(swapped) == "call mary jane watson now"
    assert swapped == dataset.targets[4]


def test_a_longer_value_gives_way_to_a_shorter_one() -> None:
    dataset, mentions = learn(calls("mary jane watson", "ada", "bob", "cyd", "dan"))

    assert swap_mentions(dataset.targets[0], mentions, Always(), ROOM) == dataset.targets[4]


def test_a_value_that_is_mentioned_twice_is_swapped_twice_for_the_same() -> None:
    names = ("ada", "bob", "cyd", "dan", "eve")
    dataset, mentions = learn({f"{name} and again {name}": f'{{"who":["{name}"]}}' for name in names})

    drawn = [swap_mentions(dataset.targets[0], mentions, random.Random(seed), ROOM) for seed in range(30)]

    ends = {(words[0], words[-1]) for words in map(str.split, map(read, drawn))}
    assert all(first == last for first, last in ends)
    assert len(ends) > 1


def test_values_of_another_kind_are_left_alone() -> None:
    cities = ("rome", "oslo", "bern", "riga", "bonn")
    pairs = {
        f"fly {name} to {city}": f'{{"to":"{city}","who":"{name}"}}'
        for name, city in zip(("ada", "bob", "cyd", "dan", "eve"), cities, strict=True)
    }
    dataset, mentions = learn(pairs)

    swapped = swap_mentions(dataset.targets[0], mentions, Always(), ROOM)

    assert read(swapped) == "fly eve to bonn"
    assert sorted(len(values) for values in mentions.values()) == [5, 5]


def test_a_row_may_stay_as_it_is() -> None:
    dataset, mentions = learn(calls("ada", "bob", "cyd", "dan", "eve"))

    assert swap_mentions(dataset.targets[0], mentions, Never(), ROOM) == dataset.targets[0]


def test_a_row_that_would_become_too_long_stays_as_it_is() -> None:
    dataset, mentions = learn(calls("ada", "bob", "cyd", "dan", "mary jane watson"))

    assert swap_mentions(dataset.targets[0], mentions, Always(), 5) == dataset.targets[0]


def test_a_row_without_values_stays_as_it_is() -> None:
    target = Target(ids=[101, 2655, 102], heads=[1], tags=[0], options=[0])

    assert swap_mentions(target, {}, Always(), ROOM) == target
