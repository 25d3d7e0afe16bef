"""The value that each confidence signal reads from a draft."""

from __future__ import annotations

import math
from typing import Any

import pytest

from gateway.confidence.deferral import load_signals
from gateway.core import Draft, Trace

SIGNALS = load_signals()

TRACE = Trace(
    logprobs=tuple(-0.1 * (n + 1) for n in range(20)),
    margins=(3.0, 0.5, 12.0, 2.0),
    entropies=(0.1, 0.7, 0.0, 0.2),
)
SURE = Trace(logprobs=(-0.001, -0.002), margins=(11.0, 40.0), entropies=(0.0, 0.0))
HALF = Trace((math.log(0.5), math.log(0.5)), (0.0, 0.0), (0.7, 0.7))
CERTAIN = Trace((0.0,), (40.0,), (0.0,))
EMPTY = Trace((), (), ())


def draft(**fields: Any) -> Draft:
    return Draft(**{"text": "an answer", "score": 0.5, "task": "t", "version": 1, **fields})


@pytest.mark.parametrize(
    ("name", "seen", "expected"),
    [
        ("mean_logprob", draft(trace=TRACE), -1.05),
        ("mean_logprob", draft(trace=EMPTY), None),
        ("logprob_quantiles", draft(trace=TRACE), -1.8),
        ("logprob_quantiles", draft(trace=SURE), -0.002),
        ("logprob_quantiles", draft(trace=EMPTY), None),
        ("min_margin", draft(trace=TRACE), 0.5),
        ("min_margin", draft(trace=SURE), 10.0),
        ("min_margin", draft(trace=EMPTY), None),
        ("first_token_margin", draft(trace=TRACE), 3.0),
        ("first_token_margin", draft(trace=SURE), 10.0),
        ("first_token_margin", draft(trace=EMPTY), None),
        ("knn_distance", draft(evidence={"similarity": 0.75}), -0.25),
        ("knn_distance", draft(trace=TRACE), None),
        ("errors_per_item", draft(trace=HALF, text="label"), -math.log(1.0 / 2)),
        ("errors_per_item", draft(trace=HALF, text='{"a": ["x", "y"], "b": []}'), -math.log(1.0 / 3)),
        ("errors_per_item", draft(trace=HALF, text="[]"), 0.0),
        ("errors_per_item", draft(trace=CERTAIN), math.log(1_000)),
        ("errors_per_item", draft(trace=EMPTY), None),
        ("validity", draft(text="free text"), 1.0),
        ("validity", draft(text=""), 1.0),
        ("validity", draft(text=' {"a": [1, 2]}\n'), 1.0),
        ("validity", draft(text="[1, 2]"), 1.0),
        ("validity", draft(text='{"a": 1'), 0.0),
        ("validity", draft(text='{"a": 1} or so'), 0.0),
        ("validity", draft(text="[" * 100_000), 0.0),
        ("validity", draft(text='{"a": "\ud800"}'), 0.0),
    ],
)
def test_a_signal_reads(name: str, seen: Draft, expected: float | None) -> None:
    assert SIGNALS[name](seen) == (None if expected is None else pytest.approx(expected))
