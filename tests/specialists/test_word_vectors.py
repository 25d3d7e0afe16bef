"""Word vectors come out of the packaged encoder's own file, without the encoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gateway.errors import RegistryError, SpecialistError
from gateway.registry.files import packaged
from gateway.specialists.encoders import minilm
from gateway.specialists.onnx_encoder import OnnxEncoder
from gateway.specialists.word_vectors import WordTable, WordVectors


@pytest.fixture(scope="module")
def words(encoder: OnnxEncoder) -> WordVectors:
    found = encoder.word_vectors
    assert found is not None
    return found


def test_the_table_is_where_the_packaged_file_has_it() -> None:
    onnx = pytest.importorskip("onnx")
    path = packaged(minilm.PACKAGE, minilm.WEIGHTS, minilm.SHA256, "")
    content = path.read_bytes()
    tensors = {each.name: each for each in onnx.load_model_from_string(content).graph.initializer}
    prefix = "inner.embeddings.word_embeddings.weight"

    places = {name: content.index(tensors[f"{prefix}_{name}"].raw_data) for name in ("q", "scale")}

    assert places == {"q": minilm.WORDS.offset, "scale": minilm.WORDS.scales_offset}
    assert list(tensors[f"{prefix}_q"].dims) == [minilm.WORDS.rows, minilm.WORDS.dimension]


def test_texts_of_related_words_are_near(words: WordVectors) -> None:
    song, track, card = map(words.encode, ("play a jazz song", "some jazz music", "my card is lost"))

    assert float(song @ track) > float(song @ card) + 0.2
    assert float(np.linalg.norm(song)) == pytest.approx(1.0, abs=1e-6)


def test_the_order_of_words_does_not_count(words: WordVectors) -> None:
    assert words.encode("a b c d") == pytest.approx(words.encode("d c b a"), abs=1e-6)


def test_a_text_without_words_is_nothing(words: WordVectors) -> None:
    assert not words.encode("\U0001f600").any()


@pytest.mark.parametrize(
    ("text", "reason"),
    [("word " * 255, "input too long"), (" \n", "empty input"), ("\ud800", "input unreadable")],
)
def test_what_the_encoder_refuses_has_no_word_vector(words: WordVectors, text: str, reason: str) -> None:
    with pytest.raises(SpecialistError) as refusal:
        words.encode(text)

    assert refusal.value.reason == reason


def test_a_file_too_short_for_the_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "short").write_bytes(b"x" * 100)
    table = WordTable(offset=10, scales_offset=50, rows=100, dimension=4, first_word=1)

    with pytest.raises(RegistryError, match="holds no table"):
        WordVectors(tmp_path / "short", table, minilm.build_tokenizer(), 256)
