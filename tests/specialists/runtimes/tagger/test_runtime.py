from __future__ import annotations

import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from gateway.core import DraftRequest
from gateway.errors import RegistryError, SpecialistError
from gateway.specialists import knn
from gateway.specialists.base import NullListener, Prediction
from gateway.specialists.encoders import minilm
from gateway.specialists.engine.pool import EnginePool
from gateway.specialists.runtimes.tagger import runtime as tagger
from gateway.specialists.runtimes.tagger.grammar import Field, Grammar, SpanType
from gateway.specialists.runtimes.tagger.runtime import TaggerRuntime
from gateway.specialists.runtimes.tagger.words import Words
from gateway.specialists.shared_resources import SharedResources
from gateway.specialists.softmax import Logits
from tests.specialists.hosting import FlatEncoder

GRAMMAR = Grammar(
    frame="json",
    fields=(
        Field(path=("mood",), choices=('"calm"', '"loud"')),
        Field(path=("who",), span_types=(SpanType(),)),
    ),
)


class ScriptedNetwork(tagger.Network):
    """Tags every second word with probability .8, and is calm with .9."""

    def __init__(self) -> None:
        self.sizes = (3, 2)

    def run(self, words: Words) -> tuple[Logits, Logits]:
        tags = np.full((len(words.first_tokens), 3), 0.1, np.float32)
        for number in range(len(tags)):
            tags[number, number % 2] = 0.8
        return np.log(tags), np.log(np.array([0.9, 0.1], np.float32))


def drafted(text: str) -> Prediction:
    neighbors = knn.NearestNeighbors(np.full((1, 4), 0.5, np.float32))
    runtime = TaggerRuntime(GRAMMAR, minilm.build_tokenizer(), ScriptedNetwork(), neighbors, FlatEncoder())
    return runtime.draft(DraftRequest(text=text), NullListener())


def test_the_answer_holds_the_tagged_spans_and_the_chosen_options() -> None:
    assert drafted("call Ada").text == '{"mood":"calm","who":"Ada"}'


def test_the_score_is_the_probability_of_all_decisions_together() -> None:
    prediction = drafted("call Ada")
    assert prediction.score == pytest.approx(0.8 * 0.8 * 0.9, abs=1e-5)
    assert prediction.evidence == pytest.approx({"min_logprob": np.log(0.8), "similarity": 1.0}, abs=1e-5)
    assert prediction.trace is not None
    assert len(prediction.trace.logprobs) == 3


@pytest.mark.parametrize(("text", "reason"), [(" ", "empty input"), ("word " * 300, "input too long")])
def test_an_input_that_cannot_be_read_whole_is_refused(text: str, reason: str) -> None:
    with pytest.raises(SpecialistError, match=reason):
        drafted(text)


def _truncate(name: str) -> Callable[[Path], None]:
    def truncate(folder: Path) -> None:
        (folder / name).write_bytes((folder / name).read_bytes()[:-9])

    return truncate


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_truncate("grammar.json"), r"grammar\.json is unreadable"),
        (_truncate("tokenizer.json"), r"tokenizer\.json is no tokenizer"),
        (_truncate("neighbors.npy"), r"neighbors\.npy is unreadable"),
        (_truncate("model.onnx"), r"model\.onnx is no ONNX model"),
        (lambda folder: None, r"model\.onnx is no tagger: its outputs are"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, damage: Callable[[Path], None], message: str) -> None:
    tagger.write_grammar(GRAMMAR, minilm.build_tokenizer(), tmp_path)
    knn.write_neighbors(np.full((1, 4), 0.5, np.float32), tmp_path)
    spec = find_spec(minilm.PACKAGE)
    assert spec is not None
    assert spec.submodule_search_locations
    shutil.copy(Path(spec.submodule_search_locations[0]) / "model.onnx", tmp_path)
    damage(tmp_path)

    with pytest.raises(RegistryError, match=message):
        tagger.create(tmp_path, SharedResources(FlatEncoder(), EnginePool(tmp_path, 64)))
