from __future__ import annotations

from pathlib import Path

import pytest

from gateway.errors import RegistryError, SpecialistError
from gateway.specialists.encoders import minilm
from gateway.specialists.tokenization import encode_input, encode_text, open_tokenizer


def test_an_input_is_encoded_whole() -> None:
    assert encode_input(minilm.build_tokenizer(), "where is my card?", 7).ids[0] == 101


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty input"),
        (" \n", "empty input"),
        ("\ud800 hi", "input unreadable"),
        ("word " * 9, "input too long"),
        ("x" * 999, "input too long"),
    ],
)
def test_an_input_that_cannot_be_read_whole_is_refused(text: str, reason: str) -> None:
    with pytest.raises(SpecialistError) as refusal:
        encode_input(minilm.build_tokenizer(), text, 8)

    assert refusal.value.reason == reason


def test_special_tokens_may_be_left_out() -> None:
    tokenizer = minilm.build_tokenizer()

    assert encode_text(tokenizer, "hi").ids == [
        101,
        *encode_text(tokenizer, "hi", add_special_tokens=False).ids,
        102,
    ]


def test_a_tokenizer_from_a_file_neither_truncates_nor_pads(tmp_path: Path) -> None:
    tokenizer = minilm.build_tokenizer()
    tokenizer.enable_truncation(8)
    tokenizer.enable_padding(length=128)
    tokenizer.save(str(tmp_path / "tokenizer.json"))

    assert len(open_tokenizer(tmp_path / "tokenizer.json").encode("word " * 20).ids) == 22


def test_a_file_that_is_no_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match=r"tokenizer\.json"):
        open_tokenizer(tmp_path / "tokenizer.json")
