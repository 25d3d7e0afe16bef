"""A version knows which texts it has learnt, by their hashes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gateway.errors import RegistryError
from gateway.specialists.learnt import FILE, read_learnt_texts, write_learnt_texts


def test_a_learnt_text_is_known_again(tmp_path: Path) -> None:
    write_learnt_texts(["where is my card?", "refund me"], tmp_path)

    learnt = read_learnt_texts(tmp_path)

    assert len(learnt) == 2
    assert "where is my card?" in learnt
    assert "where is my parcel?" not in learnt


@pytest.mark.parametrize("same", ["  where is\nmy card? ", "where  is my card?", "where is my card?"])
def test_white_space_makes_no_other_text(tmp_path: Path, same: str) -> None:
    """A text sent twice with another blank must not vouch for new ones."""
    write_learnt_texts(["where is my card?"], tmp_path)

    assert same in read_learnt_texts(tmp_path)


def test_letters_in_either_of_unicodes_spellings_are_one_text(tmp_path: Path) -> None:
    write_learnt_texts(["caf\u00e9"], tmp_path)

    assert "cafe\u0301" in read_learnt_texts(tmp_path)


def test_a_lone_surrogate_is_a_text_too(tmp_path: Path) -> None:
    write_learnt_texts(["\ud800"], tmp_path)

    assert "\ud800" in read_learnt_texts(tmp_path)


def test_a_version_without_the_file_has_learnt_nothing(tmp_path: Path) -> None:
    assert "a" not in read_learnt_texts(tmp_path)


def test_a_file_that_holds_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"not numpy")
    with pytest.raises(RegistryError, match="unreadable"):
        read_learnt_texts(tmp_path)
    np.save(tmp_path / FILE, np.zeros((2, 2)))
    with pytest.raises(RegistryError, match="train the version again"):
        read_learnt_texts(tmp_path)
