from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from gateway.distill import linear_fit
from gateway.distill.linear_fit import build_matrix, fit_classifier, read_columns
from gateway.distill.wide_fit import WideModel
from gateway.specialists.linear.features import Features, build_features


def labeled(rows: int, seed: int) -> tuple[list[Features], np.ndarray]:
    """Return texts of 12 answers: their words and vectors say which, and not always."""
    draw = np.random.default_rng(seed)
    centers = np.random.default_rng(0).standard_normal((12, 8))
    answers = draw.integers(0, 12, rows)
    vectors = centers[answers] + draw.standard_normal((rows, 8))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    noise = draw.integers(0, 99, rows)
    seen = [
        build_features(f"about {answer} and {noise[row]}", vectors[row].astype(np.float32))
        for row, answer in enumerate(answers)
    ]
    return seen, np.array([f"answer {answer}" for answer in answers], dtype=object)


def test_many_answers_are_learnt_as_few_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """With less memory: the same objective, so the same probabilities."""
    seen, answers = labeled(400, seed=1)
    asked, _ = labeled(200, seed=2)
    fit_exactly = partial(fit_classifier, max_iterations=2_000, tolerance=1e-6)
    usual = fit_exactly(seen, answers, 0)
    monkeypatch.setattr(linear_fit, "MOST_WEIGHTS", 1_000)

    wide = fit_exactly(seen, answers, 0)

    assert isinstance(wide, WideModel)
    assert list(wide.classes_) == list(usual.classes_)
    matrix = build_matrix(asked)
    assert wide.predict_proba(matrix) == pytest.approx(usual.predict_proba(matrix), abs=1e-3)
    for ours, theirs in zip(read_columns(wide), read_columns(usual), strict=True):
        assert ours.shape == theirs.shape
