from __future__ import annotations

import math
from typing import Any

import pytest

from gateway.confidence.deferral import Scorer
from gateway.core import Deferral, Draft, Trace

SCORER = Scorer()


def draft(**fields: Any) -> Draft:
    return Draft(**{"text": "an answer", "score": 0.3, "task": "t", "version": 1, **fields})


TRACED = draft(trace=Trace((-0.5, -1.5), (2.0, 4.0), (0.4, 0.6)), evidence={"similarity": 0.5})


def test_without_a_head_the_runtimes_own_score_counts() -> None:
    assert SCORER.score_draft(TRACED, None) == 0.3


def test_a_head_is_a_logistic_function_of_its_weighted_signals() -> None:
    head = Deferral(0.25, {"mean_logprob": 0.5, "min_margin": 1.0, "knn_distance": -2.0})

    score = SCORER.score_draft(TRACED, head)

    total = 0.25 + 0.5 * -1.0 + 1.0 * 2.0 + -2.0 * -0.5
    assert score == pytest.approx(1 / (1 + math.exp(-total)))


def test_a_draft_that_lacks_a_weighted_signal_is_trusted_least() -> None:
    head = Deferral(5.0, {"validity": 1.0, "knn_distance": -0.1})
    assert SCORER.score_draft(draft(trace=TRACED.trace), head) == 0.0


def test_a_head_with_a_signal_that_is_gone_trusts_no_draft() -> None:
    """Standings outlive a release; the gateway must neither guess nor fail."""
    assert SCORER.score_draft(TRACED, Deferral(5.0, {"horoscope": 1.0})) == 0.0


@pytest.mark.parametrize("similarity", [math.nan, math.inf, -math.inf])
def test_a_signal_that_is_not_finite_is_trusted_least(similarity: float) -> None:
    head = Deferral(5.0, {"knn_distance": 1.0})
    assert SCORER.score_draft(draft(evidence={"similarity": similarity}), head) == 0.0


@pytest.mark.parametrize(("bias", "expected"), [(1e6, 1.0), (-1e6, 0.0)])
def test_a_score_stays_within_its_bounds(bias: float, expected: float) -> None:
    score = SCORER.score_draft(TRACED, Deferral(bias, {}))
    assert score == pytest.approx(expected)
    assert 0.0 <= score <= 1.0


def test_only_the_signals_that_a_draft_has_are_read() -> None:
    assert SCORER.read_signals(draft()) == {"validity": 1.0}
    assert set(SCORER.read_signals(TRACED)) == {
        "errors_per_item",
        "first_token_margin",
        "knn_distance",
        "logprob_quantiles",
        "mean_logprob",
        "min_margin",
        "validity",
    }
