from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from gateway.errors import RegistryError, SpecialistError
from gateway.registry.files import packaged
from gateway.specialists.encoders import minilm
from gateway.specialists.onnx_encoder import OnnxEncoder

TEXTS = ("where is my card?", "book a table for two in Paris tonight", "hi", "a much longer text " * 12)


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("Where is my card?", [101, 2073, 2003, 2026, 4003, 1029, 102]),
        ("na\u00efve Caf\u00e9 \u00c0\u00c9", [101, 15743, 7668, 29347, 102]),
        ("\u5317\u4eac ok", [101, 1781, 1755, 7929, 102]),
        ("unaffable don't", [101, 14477, 20961, 3468, 2123, 1005, 1056, 102]),
        ("\U0001f600 x\u200by", [101, 100, 1060, 2100, 102]),
        ("x" * 101, [101, 100, 102]),
        ("[CLS] hi", [101, 101, 7632, 102]),
    ],
)
def test_the_tokenizer_is_the_hubs_own(text: str, ids: list[int]) -> None:
    """The ids were printed by the tokenizer.json that the model's authors publish.

    On all 61,267 texts of banking77, clinc150, snips_slots and gold_headlines both agree.
    """
    assert minilm.build_tokenizer().encode(text).ids == ids


def test_a_vector_is_a_unit_vector(encoder: OnnxEncoder) -> None:
    vector = encoder.encode("where is my card?")

    assert vector.shape == (encoder.dimension,) == (384,)
    assert vector.dtype == np.float32
    assert float(np.linalg.norm(vector)) == pytest.approx(1, abs=1e-6)


def test_texts_that_mean_the_same_are_near(encoder: OnnxEncoder) -> None:
    card, same, other = map(
        encoder.encode, ("where is my card?", "my card has not arrived", "the recipe needs two eggs")
    )

    assert float(card @ same) > 0.6
    assert float(card @ other) < 0.3


def test_a_vector_is_the_same_in_every_thread(encoder: OnnxEncoder) -> None:
    """The certificate speaks of the very number that the host computes later."""
    alone = encoder.encode("where is my card?")

    with ThreadPoolExecutor(4) as threads:
        others = list(threads.map(encoder.encode, ["where is my card?", "a much longer text " * 9] * 10))

    assert all(vector.tobytes() == alone.tobytes() for vector in others[::2])


def test_a_text_of_the_longest_length_is_encoded(encoder: OnnxEncoder) -> None:
    assert encoder.encode("word " * 254).shape == (384,)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("word " * 255, "input too long"),
        ("x" * 10_000, "input too long"),
        ("", "empty input"),
        (" \n", "empty input"),
        ("\ud800", "input unreadable"),
    ],
)
def test_a_text_without_an_honest_vector_is_refused(encoder: OnnxEncoder, text: str, reason: str) -> None:
    """Nothing is truncated: an answer to half a question would look like any other."""
    with pytest.raises(SpecialistError) as refusal:
        encoder.encode(text)

    assert refusal.value.reason == reason


def test_another_model_under_the_same_name_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / minilm.PACKAGE
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "model.onnx").write_bytes(b"not the pinned model")
    monkeypatch.syspath_prepend(str(tmp_path))

    with pytest.raises(RegistryError, match="not the pinned model"):
        minilm.create()


def test_a_missing_package_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "path_importer_cache", {})

    with pytest.raises(RegistryError, match="make env"):
        minilm.create()


def test_int8_keeps_the_meaning_of_float32(encoder: OnnxEncoder) -> None:
    """Both graphs share the weights; what differs is the rounding of the activations."""
    weights = packaged(minilm.PACKAGE, minilm.WEIGHTS, minilm.SHA256, "")
    exact = OnnxEncoder("exact", weights, minilm.build_tokenizer(), 256)

    cosines = [float(encoder.encode(text) @ exact.encode(text)) for text in TEXTS]

    assert min(cosines) > 0.97


def test_another_graph_under_the_same_name_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "graph.onnx").write_bytes(b"not the pinned graph")
    monkeypatch.setattr(minilm, "GRAPH", tmp_path / "graph.onnx")
    monkeypatch.setattr(minilm, "find_int8_kernel", lambda: "avx512")

    with pytest.raises(RegistryError, match="not the pinned graph"):
        minilm.create()


def test_without_an_exact_int8_kernel_the_packaged_graph_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minilm, "find_int8_kernel", lambda: "")

    assert minilm.create().name == f"minilm@{minilm.SHA256[:8]}"


def test_the_name_tells_the_kernels_of_two_machines_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    names = set()
    for kernel in ("avx512", "avx2", "neon", ""):
        monkeypatch.setattr(minilm, "find_int8_kernel", lambda kernel=kernel: kernel)
        names.add(minilm.name_encoder())

    assert len(names) == 4


def test_the_data_package_is_never_imported(encoder: OnnxEncoder) -> None:
    assert encoder.name.startswith("minilm@")
    assert minilm.PACKAGE not in sys.modules
