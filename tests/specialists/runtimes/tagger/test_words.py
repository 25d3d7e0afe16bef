from __future__ import annotations

import pytest

from gateway.errors import SpecialistError
from gateway.specialists.encoders.minilm import build_tokenizer
from gateway.specialists.runtimes.tagger.words import words_of


def test_words_are_whole_however_many_pieces_they_have() -> None:
    text = "play Szymanowski, loud"
    words = words_of(text, build_tokenizer(), 256)
    assert [text[start:end] for start, end in zip(words.starts, words.ends, strict=True)] == [
        "play",
        "Szymanowski",
        ",",
        "loud",
    ]
    assert len(words.ids) > len(words.heads) + 2


def test_a_value_is_found_only_as_whole_words() -> None:
    text = "cat concat cat"
    words = words_of(text, build_tokenizer(), 256)
    assert words.occurrences(text, "cat") == [(0, 0), (2, 2)]
    assert words.occurrences(text, "concat cat") == [(1, 2)]
    assert words.occurrences(text, "dog") == words.occurrences(text, "") == []


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
def test_what_cannot_be_read_whole_is_refused(text: str, reason: str) -> None:
    with pytest.raises(SpecialistError, match=reason):
        words_of(text, build_tokenizer(), 8)
