"""A first stage answers what it is sure of; the encoder is asked about everything else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gateway.errors import RegistryError, SpecialistError
from gateway.specialists.knn import FloatVector
from gateway.specialists.linear.features import HASHED_BINS, ngram_codes
from gateway.specialists.runtimes.head import runtime as head
from gateway.specialists.runtimes.head.first_stage import (
    FILE,
    FirstStage,
    StageRule,
    filter_ngrams,
    read_first_stage,
    share_known,
    write_first_stage,
)
from tests.specialists.hosting import EXAMPLES, FlatEncoder, drafted, resources_of, write_head


class Words:
    """One dimension for each answer: how many of a text's words stand in its examples."""

    dimension = 3

    def encode(self, text: str) -> FloatVector:
        if not text.strip():
            raise SpecialistError("empty input")
        answers = sorted(set(EXAMPLES.values()))
        vocabularies = [
            {word for example, answer in EXAMPLES.items() if answer == each for word in example.split()}
            for each in answers
        ]
        counts = [sum(word in vocabulary for word in text.split()) for vocabulary in vocabularies]
        return np.array(counts, np.float32) / np.float32(max(1, len(text.split())))


class CountingEncoder(FlatEncoder):
    """A flat encoder with word vectors, and the texts that it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.word_vectors = Words()

    def encode(self, text: str) -> FloatVector:
        self.asked.append(text)
        return super().encode(text)


def stage(*, least_margin: float = 0.9, least_known: float = 0.8) -> FirstStage:
    coefficients = np.zeros((3 + HASHED_BINS, 3), np.float32)
    coefficients[:3] = 4 * np.eye(3)
    return FirstStage(
        coefficients=coefficients,
        intercept=np.zeros(3, np.float32),
        known=filter_ngrams(code for text in EXAMPLES for code in ngram_codes(text)),
        rule=StageRule(
            least_margin=least_margin,
            least_known=least_known,
            margins=np.array([0.9, 1.0]),
            scores=np.array([0.4, 0.8]),
        ),
    )


@pytest.fixture
def encoder() -> CountingEncoder:
    return CountingEncoder()


@pytest.fixture
def specialist(encoder: CountingEncoder, tmp_path: Path) -> head.HeadRuntime:
    write_head(tmp_path, FlatEncoder())
    write_first_stage(stage(), tmp_path)
    return head.create(tmp_path, resources_of(encoder))


def test_a_sure_answer_needs_no_encoder(specialist: head.HeadRuntime, encoder: CountingEncoder) -> None:
    prediction = drafted(specialist, "i forgot my pin")

    assert (prediction.text, encoder.asked) == ("pin", [])
    assert prediction.evidence["first_stage"] == 1.0
    assert "similarity" not in prediction.evidence


def test_its_score_is_what_its_margin_is_worth(specialist: head.HeadRuntime) -> None:
    """The certificate has one threshold: a margin of words alone is not one of the head."""
    prediction = drafted(specialist, "i forgot my pin")

    margin = prediction.evidence["margin"]
    assert 0.9 < margin < 1.0
    assert prediction.score == pytest.approx(0.4 + (margin - 0.9) / 0.1 * 0.4)


@pytest.mark.parametrize(
    "text",
    ["my card", "my pin pin pin pin", "unheard of words that hide: i forgot my pin"],
    ids=["unsure", "pairs unknown", "words unknown"],
)
def test_everything_else_is_encoded(
    specialist: head.HeadRuntime, encoder: CountingEncoder, text: str
) -> None:
    prediction = drafted(specialist, text)

    assert encoder.asked == [text]
    assert "similarity" in prediction.evidence
    assert "first_stage" not in prediction.evidence
    assert prediction.score == prediction.evidence["margin"]


def test_a_text_without_words_is_encoded(specialist: head.HeadRuntime, encoder: CountingEncoder) -> None:
    drafted(specialist, "?!")

    assert encoder.asked == ["?!"]


def test_a_head_without_a_first_stage_encodes_every_text(encoder: CountingEncoder, tmp_path: Path) -> None:
    """Versions of before have no such file."""
    write_head(tmp_path, FlatEncoder())

    drafted(head.create(tmp_path, resources_of(encoder)), "i forgot my pin")

    assert encoder.asked == ["i forgot my pin"]


def test_an_encoder_without_word_vectors_cannot_open_it(tmp_path: Path) -> None:
    write_head(tmp_path, FlatEncoder())
    write_first_stage(stage(), tmp_path)

    with pytest.raises(RegistryError, match="needs an encoder with word vectors"):
        head.create(tmp_path, resources_of(FlatEncoder()))


def test_it_comes_back_as_it_was_written(tmp_path: Path) -> None:
    write_first_stage(stage(), tmp_path)

    found = read_first_stage(tmp_path, 3, 3)

    assert found is not None
    assert (found.coefficients == stage().coefficients).all()
    assert (found.known, found.rule.least_margin, found.rule.least_known) == (stage().known, 0.9, 0.8)
    assert found.rule.score(0.95) == pytest.approx(0.6)


def _with(**changed: Any) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        with np.load(path) as arrays:
            kept = dict(arrays)
        np.savez(path, **{**kept, **changed})

    return damage


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:1000]), "unreadable"),
        (_with(coefficients=np.zeros((4, 3))), "does not fit"),
        (_with(intercept=np.array([np.nan, 0, 0])), "does not fit"),
        (_with(intercept=np.array(["a", "b", "c"])), "does not fit"),
        (_with(intercept=np.array([{}, {}, {}], dtype=object)), "unreadable"),
        (_with(known=np.zeros(7, np.uint8)), "does not fit"),
        (_with(limits=np.zeros(3)), "does not fit"),
        (_with(margins=np.zeros(0), scores=np.zeros(0)), "does not fit"),
        (_with(scores=np.zeros(5)), "does not fit"),
    ],
)
def test_a_first_stage_that_cannot_work_is_refused(
    tmp_path: Path, damage: Callable[[Path], None], named: str
) -> None:
    write_first_stage(stage(), tmp_path)
    damage(tmp_path / FILE)

    with pytest.raises(RegistryError, match=named):
        read_first_stage(tmp_path, 3, 3)


def test_a_filter_knows_what_it_was_made_of_and_little_else() -> None:
    learnt = range(0, 15_000 * 7_919, 7_919)
    known = filter_ngrams(learnt)

    assert share_known(list(learnt), known) == 1.0
    assert share_known(range(1, 15_000 * 104_729, 104_729), known) < 0.1
    assert share_known([], known) == 0.0
