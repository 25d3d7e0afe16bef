from __future__ import annotations

import numpy as np
import pytest

from gateway.distill.recipes.span.dataset import Target
from gateway.distill.recipes.span.option_head import fit_option_head
from gateway.specialists.runtimes.tagger.grammar import Field, Grammar
from tests.distill.conftest import ToyEncoder

GRAMMAR = Grammar(
    frame="json",
    fields=(
        Field(path=("mood",), choices=('"calm"', '"loud"', '"odd"')),
        Field(path=("always",), choices=("1",)),
        Field(path=("urgent",), choices=("false", "true")),
    ),
)
TEXTS = ["quiet sea", "quiet sea now", "noisy street", "noisy street now"] * 5
OPTIONS = [[0, 0], [0, 1], [1, 0], [1, 1]] * 5


def target(options: list[int]) -> Target:
    return Target([0], [0], [0], options)


def judge(text: str) -> list[int]:
    encoder = ToyEncoder()
    head = fit_option_head(GRAMMAR, TEXTS, [target(row) for row in OPTIONS], encoder, 0)
    assert head is not None
    logits = head.judge_options(text, encoder.encode(text))
    return [int(np.argmax(logits[:3])), int(np.argmax(logits[3:]))]


@pytest.mark.parametrize(("text", "options"), list(zip(TEXTS[:4], OPTIONS[:4], strict=True)))
def test_a_head_learns_every_field_that_has_options(text: str, options: list[int]) -> None:
    assert judge(text) == options


def test_an_option_that_no_row_teaches_is_all_but_ruled_out() -> None:
    encoder = ToyEncoder()
    head = fit_option_head(GRAMMAR, TEXTS, [target(row) for row in OPTIONS], encoder, 0)
    assert head is not None
    logits = head.judge_options("quiet street", encoder.encode("quiet street"))
    assert logits[2] < logits[:2].max() - 5


def test_rows_that_the_encoder_cannot_read_are_left_out() -> None:
    encoder = ToyEncoder()
    texts, options = [*TEXTS, "word " * 50], [*OPTIONS, [2, 1]]
    head = fit_option_head(GRAMMAR, texts, [target(row) for row in options], encoder, 0)
    whole = fit_option_head(GRAMMAR, TEXTS, [target(row) for row in OPTIONS], encoder, 0)
    assert head is not None
    assert whole is not None
    assert (head.coefficients == whole.coefficients).all()


def test_rows_that_all_choose_the_same_teach_no_head() -> None:
    rows = [target([0, 0]), target([0, 1])]
    assert fit_option_head(GRAMMAR, ["a", "b"], rows, ToyEncoder(), 0) is None
