from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gateway.errors import RegistryError, SpecialistError
from gateway.specialists import knn
from gateway.specialists.onnx_encoder import OnnxEncoder
from gateway.specialists.runtimes.head import runtime as head
from tests.specialists.hosting import EXAMPLES, FlatEncoder, drafted, make_head, resources_of, write_head


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_head(tmp_path, FlatEncoder())
    return tmp_path


def test_a_head_answers_as_its_examples_do(encoder: OnnxEncoder, tmp_path: Path) -> None:
    write_head(tmp_path, encoder)

    runtime = head.create(tmp_path, resources_of(encoder))

    assert drafted(runtime, "has my card arrived?").text == "card_arrival"
    assert drafted(runtime, "i do not remember the pin").text == "pin"


def test_the_score_is_the_margin_of_the_softmax(folder: Path) -> None:
    made = make_head(FlatEncoder(), EXAMPLES)
    made.coefficients[:] = 0
    made.intercept[:] = np.log([0.7, 0.2, 0.1])
    write_head(folder, FlatEncoder(), made)

    prediction = drafted(head.create(folder, resources_of(FlatEncoder())), "anything")

    assert prediction.text == made.answers[0]
    assert math.isclose(prediction.score, 0.5, abs_tol=1e-6)
    assert math.isclose(prediction.evidence["probability"], 0.7, abs_tol=1e-6)
    assert prediction.evidence["margin"] == prediction.score


def test_hashed_words_count(folder: Path) -> None:
    """Texts with the same embedding get different answers when their words differ."""
    made = make_head(FlatEncoder(), EXAMPLES)
    made.coefficients[FlatEncoder.dimension :] = np.random.default_rng(0).normal(
        size=(len(made.coefficients) - FlatEncoder.dimension, 3)
    )
    write_head(folder, FlatEncoder(), made)
    runtime = head.create(folder, resources_of(FlatEncoder()))

    assert len({drafted(runtime, text).score for text in ("one", "two", "three")}) == 3


def test_a_training_text_is_similar_to_itself(encoder: OnnxEncoder, tmp_path: Path) -> None:
    write_head(tmp_path, encoder)
    runtime = head.create(tmp_path, resources_of(encoder))

    known = drafted(runtime, "where is my card").evidence["similarity"]
    strange = drafted(runtime, "the recipe needs two eggs").evidence["similarity"]

    assert known == pytest.approx(1, abs=0.01)
    assert strange < 0.4


def test_the_same_text_gets_the_same_numbers_in_every_thread(encoder: OnnxEncoder, tmp_path: Path) -> None:
    write_head(tmp_path, encoder)
    runtime = head.create(tmp_path, resources_of(encoder))

    with ThreadPoolExecutor(4) as threads:
        drafts = list(threads.map(lambda text: drafted(runtime, text), ["where is my card"] * 20))

    assert all(draft == drafts[0] for draft in drafts)


def test_a_text_the_encoder_refuses_has_no_draft(encoder: OnnxEncoder, tmp_path: Path) -> None:
    write_head(tmp_path, encoder)

    with pytest.raises(SpecialistError, match="input too long"):
        drafted(head.create(tmp_path, resources_of(encoder)), "word " * 300)


def _with(**changed: Any) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        with np.load(folder / head.WEIGHTS) as arrays:
            kept = dict(arrays)
        np.savez(folder / head.WEIGHTS, **{**kept, **changed})

    return damage


def _cut(folder: Path) -> None:
    path = folder / head.WEIGHTS
    path.write_bytes(path.read_bytes()[:1000])


def _neighbors(vectors: Any) -> Callable[[Path], None]:
    return lambda folder: np.save(folder / knn.FILE, vectors)


def _answers(content: bytes) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / head.ANSWERS).write_bytes(content)

    return damage


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (_cut, "head.npz is unreadable"),
        (lambda folder: (folder / head.WEIGHTS).unlink(), "head.npz is unreadable"),
        (lambda folder: (folder / head.ANSWERS).unlink(), "answers.json is unreadable"),
        (_answers(b'["a", 1, "b"]'), "answers.json is unreadable"),
        (_answers(b'["only one"]'), "at least 2"),
        (_answers(b'["one", "too", "many", "answers"]'), "has shapes"),
        (_with(intercept=np.array([np.nan, 0, 0])), "not finite"),
        (_neighbors(np.zeros((0, 4))), "at least one 4-d vector"),
        (_neighbors(np.zeros((2, 3))), "at least one 4-d vector"),
        (lambda folder: (folder / knn.FILE).write_bytes(b"junk"), "neighbors.npy is unreadable"),
        (_with(coefficients=np.zeros((4, 3))), "has shapes"),
        (_with(intercept=np.array([{}, {}, {}], dtype=object)), "head.npz is unreadable"),
    ],
)
def test_a_head_that_cannot_work_is_refused(folder: Path, damage: Callable[[Path], None], named: str) -> None:
    damage(folder)

    with pytest.raises(RegistryError, match=named):
        head.create(folder, resources_of(FlatEncoder()))
