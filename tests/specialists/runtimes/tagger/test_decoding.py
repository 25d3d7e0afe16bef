from __future__ import annotations

import numpy as np
import pytest

from gateway.specialists.runtimes.tagger.decoding import decode_answer
from gateway.specialists.runtimes.tagger.grammar import Field, Grammar, SpanType

GRAMMAR = Grammar(
    frame="json",
    fields=(
        Field(path=("a",), choices=('"x"', '"y"', '"z"')),
        Field(path=("b",), span_types=(SpanType(),)),
        Field(path=("c",), choices=("1", "2"), span_types=(SpanType(),)),
    ),
)


def logits(*rows: list[float]) -> np.ndarray:
    return np.log(np.array(rows, np.float32))


def test_a_further_word_follows_only_a_span_of_its_own_type() -> None:
    """The likeliest tags of the words alone would be: O, I- of one type, I- of the other."""
    words = logits([0.6, 0.3, 0.03, 0.03, 0.04], [0.1, 0.1, 0.7, 0.05, 0.05], [0.1, 0.1, 0.3, 0.1, 0.4])
    assert decode_answer(GRAMMAR, words, np.zeros(6, np.float32)).tags == [1, 2, 2]


def test_the_likeliest_sequence_is_found_among_all() -> None:
    draw = np.random.default_rng(0)
    for _ in range(20):
        words = draw.normal(size=(4, 5)).astype(np.float32) * 2
        found = decode_answer(GRAMMAR, words, np.zeros(6, np.float32))
        assert sum(words[n, tag] for n, tag in enumerate(found.tags)) == pytest.approx(_best(words), abs=1e-4)


def test_every_decision_is_in_the_trace() -> None:
    words = logits([0.8, 0.05, 0.05, 0.05, 0.05])
    found = decode_answer(GRAMMAR, words, logits([0.1, 0.7, 0.2, 0.25, 0.25, 0.5])[0])
    assert found.options == [1, 2]
    assert np.exp(found.trace.logprobs) == pytest.approx([0.8, 0.7, 0.5], abs=1e-5)
    assert np.exp(found.trace.margins) == pytest.approx([16, 3.5, 2], abs=1e-3)
    assert found.trace.entropies[2] == pytest.approx(1.5 * np.log(2), abs=1e-5)


def test_without_span_types_the_words_decide_nothing() -> None:
    label = Grammar(frame="text", fields=(Field(path=(), choices=('"x"', '"y"')),))
    found = decode_answer(label, np.zeros((3, 1), np.float32), logits([0.9, 0.1])[0])
    assert (found.tags, found.options, len(found.trace.logprobs)) == ([0, 0, 0], [0], 1)


def test_of_two_opinions_the_geometric_mean_counts() -> None:
    label = Grammar(frame="text", fields=(Field(path=(), choices=('"x"', '"y"')),))
    one, other = logits([0.8, 0.2], [0.1, 0.9])
    found = decode_answer(label, np.zeros((3, 1), np.float32), one + 1, other)
    assert found.options == [1]
    assert np.exp(found.trace.logprobs) == pytest.approx([0.6], abs=1e-5)
    assert decode_answer(label, np.zeros((3, 1), np.float32), one, one) == decode_answer(
        label, np.zeros((3, 1), np.float32), one
    )


def _best(words: np.ndarray) -> float:
    """Return the best sum by trying every sequence."""
    best = {tag: words[0, tag] for tag in (0, 1, 3)}
    for row in words[1:]:
        best = {
            tag: row[tag]
            + max(score for before, score in best.items() if tag in (0, 1, 3) or before in (tag, tag - 1))
            for tag in range(5)
            if tag in (0, 1, 3) or {tag, tag - 1} & best.keys()
        }
    return float(max(best.values()))
