from __future__ import annotations

import pytest

from gateway.errors import SpecialistError
from gateway.specialists.encoders.minilm import build_tokenizer
from gateway.specialists.runtimes.tagger.words import split_words


def test_words_are_whole_in_spite_of_their_pieces() -> None:
    text = "play Szymanowski, loud"
    words = split_words(text, build_tokenizer(), 256)
    assert [text[start:end] for start, end in zip(words.starts, words.ends, strict=True)] == [
        "play",
        "Szymanowski",
        ",",
        "loud",
    ]
    assert len(words.ids) > len(words.first_tokens) + 2


def test_a_value_is_found_only_as_whole_words() -> None:
    text = "cat concat cat"
    words = split_words(text, build_tokenizer(), 256)
    assert words.find_value(text, "cat") == [(0, 0), (2, 2)]
    assert words.find_value(text, "concat cat") == [(1, 2)]
    assert words.find_value(text, "dog") == words.find_value(text, "") == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (" \n", "empty input"),
        ("\u200b", "empty input"),
        ("\ud800 hi", "input unreadable"),
        ("word " * 9, "input too long"),
        ("x" * 999, "input too long"),
    ],
)
def test_an_input_that_cannot_be_read_whole_is_refused(text: str, reason: str) -> None:
    with pytest.raises(SpecialistError, match=reason):
        split_words(text, build_tokenizer(), 8)
