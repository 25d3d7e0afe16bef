from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gateway.errors import RegistryError, SpecialistError
from gateway.specialists import familiarity
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


def test_a_text_of_another_task_is_less_familiar_than_lessons_and_their_like(
    encoder: OnnxEncoder, tmp_path: Path
) -> None:
    write_head(tmp_path, encoder)
    runtime = head.create(tmp_path, resources_of(encoder))

    texts = ("where is my card", "is my card on its way", "the recipe needs two eggs")
    lesson, alike, strange = (drafted(runtime, text).evidence["similarity"] for text in texts)

    assert lesson > alike > strange


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


def _familiarity(**changed: Any) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        with np.load(folder / familiarity.FILE) as arrays:
            kept = dict(arrays)
        np.savez(folder / familiarity.FILE, **{**kept, **changed})

    return damage


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
        (_familiarity(form=np.zeros((3, 3))), "familiarity.npz does not fit 3 answers and 4-d vectors"),
        (_familiarity(offsets=np.zeros(2)), "familiarity.npz does not fit"),
        (_familiarity(slopes=np.full((3, 4), np.inf)), "familiarity.npz holds numbers that are not finite"),
        (lambda folder: (folder / familiarity.FILE).write_bytes(b"junk"), "familiarity.npz is unreadable"),
        (lambda folder: (folder / familiarity.FILE).unlink(), "familiarity.npz is unreadable"),
        (_with(coefficients=np.zeros((4, 3))), "has shapes"),
        (_with(intercept=np.array([{}, {}, {}], dtype=object)), "head.npz is unreadable"),
    ],
)
def test_a_head_that_cannot_work_is_refused(folder: Path, damage: Callable[[Path], None], named: str) -> None:
    damage(folder)

    with pytest.raises(RegistryError, match=named):
        head.create(folder, resources_of(FlatEncoder()))
