from __future__ import annotations

import pytest

from gateway.distill.base import Config, EvalResult


def test_the_error_of_the_surest_looks_at_these_alone() -> None:
    scored = EvalResult([0.9, 0.1, 0.8, 0.2], [0.0, 1.0, 0.0, 1.0])
    assert scored.error_at(0.5) < 0.3 < scored.error_at(1.0)


def test_a_small_exam_without_an_error_promises_less_than_a_large_one() -> None:
    small, large = EvalResult([0.9] * 10, [0.0] * 10), EvalResult([0.9] * 1000, [0.0] * 1000)
    assert small.error_at(1.0) > 10 * large.error_at(1.0) > 0.0


@pytest.mark.parametrize(
    ("rows", "last", "enough"), [(199, 0, False), (200, 0, True), (259, 200, False), (260, 200, True)]
)
def test_a_new_version_needs_a_harvest_which_has_grown(rows: int, last: int, enough: bool) -> None:
    assert (rows >= Config(first_rows=200).rows_needed(last, 1.3)) is enough


def test_coverage_is_the_largest_share_which_errs_within_alpha() -> None:
    scored = EvalResult([0.9] * 100 + [0.1] * 100, [0.0] * 100 + [1.0] * 100)
    assert 0.5 <= scored.coverage_at(0.05) < 0.53
    assert EvalResult([], []).coverage_at(0.05) == 0.0
