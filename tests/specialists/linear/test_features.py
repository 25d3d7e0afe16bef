from __future__ import annotations

import zlib

import numpy as np
import pytest

from gateway.specialists.linear.features import (
    HASHED_BINS,
    HASHED_WEIGHT,
    build_features,
    feature_width,
    hash_ngrams,
)


def test_words_and_word_pairs_are_hashed() -> None:
    indices, values = hash_ngrams("Where is")

    grams = [zlib.crc32(gram) for gram in (b"where", b"is", b"where is")]
    assert indices.tolist() == [code % HASHED_BINS for code in grams]
    assert np.sign(values).tolist() == [-1 if code >= 1 << 31 else 1 for code in grams]


def test_the_bins_of_a_text_never_change() -> None:
    """Published heads depend on them: another hash needs a new feature set."""
    indices, _ = hash_ngrams("where is my card")

    assert indices.tolist() == [4934, 8855, 3725, 6355, 6557, 14273, 1689]


def test_the_hashed_part_has_a_fixed_norm() -> None:
    _, values = hash_ngrams("to be or not to be")

    assert float(np.linalg.norm(values)) == pytest.approx(HASHED_WEIGHT)


def test_case_and_punctuation_do_not_count() -> None:
    assert hash_ngrams("Where IS it?!")[0].tolist() == hash_ngrams("where is it")[0].tolist()


@pytest.mark.parametrize("text", ["", "?!", "   "])
def test_a_text_without_words_has_no_hashed_part(text: str) -> None:
    indices, values = hash_ngrams(text)

    assert len(indices) == len(values) == 0


def test_every_column_lies_within_the_width() -> None:
    built = build_features(" ".join(f"word{n}" for n in range(2_000)), np.ones(384, np.float32))

    assert int(built.indices.min()) >= 0
    assert 384 + int(built.indices.max()) < feature_width(384)
    assert len(set(built.indices.tolist())) == len(built.indices)


def test_the_embedding_is_weighted() -> None:
    built = build_features("hello", np.full(4, 0.5, np.float32))

    assert built.dense.tolist() == [1.5] * 4
    assert built.dense.dtype == built.values.dtype == np.float32
