"""Delta over attempts: what can be in force at one time sums to delta."""

from __future__ import annotations

import pytest

from gateway.confidence.spending import ATTEMPTS_IN_FORCE, delta_for_attempt, has_lapsed


@pytest.mark.parametrize("attempt", range(1, 20))
def test_any_attempts_that_can_be_in_force_together_sum_to_delta(attempt: int) -> None:
    levels = [delta_for_attempt(0.1, attempt + later) for later in range(ATTEMPTS_IN_FORCE)]

    assert sum(levels) == pytest.approx(0.1)


def test_the_first_attempt_has_the_most() -> None:
    """It has the fewest audits."""
    assert delta_for_attempt(0.1, 1) == max(delta_for_attempt(0.1, k) for k in range(1, 9))


def test_a_certificate_lapses_after_two_attempts_that_did_not_renew_it() -> None:
    assert [has_lapsed(3, attempts) for attempts in (3, 4, 5, 6)] == [False, False, True, True]
