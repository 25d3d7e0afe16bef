from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gateway.core import DraftRequest
from gateway.errors import RegistryError
from gateway.specialists import knn
from gateway.specialists.base import NullListener
from gateway.specialists.encoders import minilm
from gateway.specialists.linear.features import feature_width
from gateway.specialists.runtimes.tagger.grammar import Field, Grammar
from gateway.specialists.runtimes.tagger.option_head import (
    FILE,
    OptionHead,
    read_option_head,
    write_option_head,
)
from gateway.specialists.runtimes.tagger.runtime import Network, TaggerRuntime
from gateway.specialists.runtimes.tagger.words import Words
from gateway.specialists.softmax import Logits
from tests.specialists.hosting import FlatEncoder

MOODS = Grammar(frame="text", fields=(Field(path=(), choices=('"calm"', '"loud"')),))


class CalmNetwork(Network):
    """Says calm with .9, whatever it is asked."""

    def __init__(self) -> None:
        self.sizes = (1, 2)

    def run(self, words: Words) -> tuple[Logits, Logits]:
        return np.zeros((len(words.first_tokens), 1), np.float32), np.log(np.array([0.9, 0.1], np.float32))


def loud_head() -> OptionHead:
    """Return a head that says loud with .75, whatever it is asked."""
    return OptionHead(
        coefficients=np.zeros((feature_width(4), 2), np.float32),
        intercept=np.array([0.0, np.log(3)], np.float32),
    )


def test_a_draft_is_the_geometric_mean_of_network_and_head() -> None:
    neighbors = knn.NearestNeighbors(np.full((1, 4), 0.5, np.float32))
    runtime = TaggerRuntime(
        MOODS, minilm.build_tokenizer(), CalmNetwork(), neighbors, FlatEncoder(), option_head=loud_head()
    )
    said = runtime.draft(DraftRequest(text="psst"), NullListener())
    calm, loud = np.sqrt(0.9 * 0.25), np.sqrt(0.1 * 0.75)
    assert said.text == "calm"
    assert said.score == pytest.approx(calm / (calm + loud), abs=1e-5)


def test_a_head_judges_by_the_embedding_and_by_the_words() -> None:
    head = loud_head()
    head.coefficients[:4, 0] = 1.0
    quiet = head.judge_options("psst", np.full(4, 0.5, np.float32))
    assert quiet[0] == pytest.approx(6.0)
    head.coefficients[4:, 1] = 1.0
    assert abs(head.judge_options("psst", np.full(4, 0.5, np.float32))[1] - quiet[1]) > 1.0


def test_a_head_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert read_option_head(tmp_path, 4, 2) is None
    head = loud_head()
    write_option_head(head, tmp_path)
    again = read_option_head(tmp_path, 4, 2)
    assert again is not None
    assert (again.coefficients == head.coefficients).all()
    assert (again.intercept == head.intercept).all()


@pytest.mark.parametrize(("dimension", "options"), [(5, 2), (4, 3)])
def test_a_head_of_another_tagger_is_named(tmp_path: Path, dimension: int, options: int) -> None:
    write_option_head(loud_head(), tmp_path)
    with pytest.raises(RegistryError, match=rf"{FILE} does not fit its tagger"):
        read_option_head(tmp_path, dimension, options)


def test_a_head_of_numbers_that_are_not_finite_is_named(tmp_path: Path) -> None:
    head = loud_head()
    head.intercept[0] = np.nan
    write_option_head(head, tmp_path)
    with pytest.raises(RegistryError, match=FILE):
        read_option_head(tmp_path, 4, 2)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"nothing")
    with pytest.raises(RegistryError, match=FILE):
        read_option_head(tmp_path, 4, 2)
