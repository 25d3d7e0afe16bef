"""How familiar a text is to a specialist, against the definition and against strangers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from gateway.distill.familiarity_fit import fit_familiarity
from gateway.specialists.familiarity import read_familiarity, write_familiarity

ANSWERS, DIMENSION = 3, 8


def lessons(count: int = 240, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return unit vectors around a center for each answer, in the first half of the dimensions alone."""
    draw = np.random.default_rng(seed)
    given = np.arange(count) % ANSWERS
    vectors = 0.2 * draw.normal(size=(count, DIMENSION)) + 0.05 * draw.normal(size=DIMENSION)
    vectors[:, DIMENSION // 2 :] *= 0.1
    vectors[np.arange(count), given] += 1.0
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32), given


def spread(deviations: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the covariance of deviations from a mean, a tenth of it made round."""
    covariance = np.cov(deviations.T, bias=True)
    mean: NDArray[np.float64] = np.trace(covariance) / DIMENSION * np.eye(DIMENSION)
    return 0.9 * covariance + 0.1 * mean


def test_it_is_the_relative_mahalanobis_distance() -> None:
    vectors, given = lessons()
    familiarity = fit_familiarity(list(vectors), given.tolist(), ANSWERS)
    centers = np.array([vectors[given == answer].mean(axis=0) for answer in range(ANSWERS)], np.float64)
    middle = vectors.mean(axis=0, dtype=np.float64)
    within, around = spread(vectors - centers[given]), spread(vectors - middle)
    text = lessons(3, seed=1)[0][2].astype(np.float64)

    for answer in range(ANSWERS):
        near = (text - centers[answer]) @ np.linalg.solve(within, text - centers[answer])
        far = (text - middle) @ np.linalg.solve(around, text - middle)
        mean = (far - near) / DIMENSION
        rated = familiarity.rate(text.astype(np.float32), answer)
        assert rated == pytest.approx(mean / (1 + abs(mean)), rel=1e-4)


def test_lessons_are_familiar_and_what_lies_where_none_does_is_not(tmp_path: Path) -> None:
    vectors, given = lessons()
    write_familiarity(fit_familiarity(list(vectors), given.tolist(), ANSWERS), tmp_path)
    familiarity = read_familiarity(tmp_path, DIMENSION, ANSWERS)
    fresh, right = lessons(300, seed=2)
    stranger = np.eye(DIMENSION, dtype=np.float32)[-1]

    rated = [familiarity.rate(vector, answer) for vector, answer in zip(fresh, right, strict=True)]
    wrong = [
        familiarity.rate(vector, (answer + 1) % ANSWERS) for vector, answer in zip(fresh, right, strict=True)
    ]

    assert max(familiarity.rate(stranger, answer) for answer in range(ANSWERS)) < np.quantile(rated, 0.01)
    assert np.quantile(wrong, 0.9) < np.quantile(rated, 0.1)
    assert all(-1 < each < 1 for each in [*rated, *wrong])


@pytest.mark.parametrize("count", [ANSWERS, 2 * ANSWERS])
def test_few_lessons_and_equal_ones_give_numbers(count: int) -> None:
    same = np.full((count, DIMENSION), DIMENSION**-0.5, np.float32)
    familiarity = fit_familiarity(list(same), [row % ANSWERS for row in range(count)], ANSWERS)

    assert np.isfinite(familiarity.rate(same[0], 1))
    assert np.isfinite(familiarity.rate(-same[0], 1))
