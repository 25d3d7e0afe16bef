"""The contract of every confidence signal with the deferral head."""

from __future__ import annotations

import math

import pytest

from gateway.confidence.deferral import load_signals
from gateway.core import Draft, Trace

SIGNALS = load_signals()

BARE = Draft(text="", score=0.5, task="t", version=1)
EMPTY = Draft(text="x", score=0.5, task="t", version=1, trace=Trace((), (), ()))
DOUBTFUL = Draft(
    text='{"broken',
    score=0.5,
    task="t",
    version=1,
    evidence={"similarity": 0.1},
    trace=Trace((-2.0, -3.0), (0.1, 0.2), (1.5, 1.6)),
)
SURE = Draft(
    text='{"whole": 1}',
    score=0.5,
    task="t",
    version=1,
    evidence={"similarity": 0.9},
    trace=Trace((-0.01, -0.02), (5.0, 6.0), (0.1, 0.1)),
)
EXTREME = Draft(
    text="[",
    score=0.5,
    task="t",
    version=1,
    evidence={"similarity": -1.0},
    trace=Trace((-80.0,), (1e9,), (0.0,)),
)

each_signal = pytest.mark.parametrize("name", SIGNALS)


@each_signal
@pytest.mark.parametrize("draft", [BARE, EMPTY, DOUBTFUL, SURE, EXTREME])
def test_it_is_a_finite_number_or_none(name: str, draft: Draft) -> None:
    """The deferral head is fitted on it, and the gateway decides by it."""
    value = SIGNALS[name](draft)

    assert value is None or (type(value) is float and math.isfinite(value))


@each_signal
def test_it_exists_for_a_draft_with_all_data(name: str) -> None:
    assert SIGNALS[name](SURE) is not None


@each_signal
def test_it_is_higher_for_the_surer_draft(name: str) -> None:
    sure, doubtful = SIGNALS[name](SURE), SIGNALS[name](DOUBTFUL)

    assert sure is not None
    assert doubtful is not None
    assert sure > doubtful


@each_signal
def test_it_is_the_same_twice(name: str) -> None:
    assert SIGNALS[name](DOUBTFUL) == SIGNALS[name](DOUBTFUL)
