"""When a teacher counts as broken, and how it comes back."""

from __future__ import annotations

import itertools

import pytest

from gateway.upstream.circuit import (
    FAILURES_IN_A_ROW,
    FIRST_REST_S,
    LONGEST_ASKED_REST_S,
    TRIAL_EVERY_S,
    WINDOW_S,
    Circuit,
)
from gateway.upstream.retry_budget import FIRST, MOST, RetryBudget


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def opened(clock: Clock, asked_s: float = 0.0) -> Circuit:
    circuit = Circuit(clock)
    for _ in range(FAILURES_IN_A_ROW):
        circuit.note_failure(0, asked_s)
    return circuit


def test_failures_in_a_row_open_it(clock: Clock) -> None:
    assert opened(clock).state == "open"


def test_a_success_between_them_does_not(clock: Clock) -> None:
    circuit = Circuit(clock)
    for _ in range(FAILURES_IN_A_ROW - 1):
        circuit.note_failure(0)
    circuit.note_success(0)
    circuit.note_failure(0)

    assert circuit.state == "closed"


@pytest.mark.parametrize(("one_in", "state"), [(2, "open"), (10, "closed")])
def test_half_of_the_answers_open_it_and_a_tenth_does_not(clock: Clock, one_in: int, state: str) -> None:
    circuit = Circuit(clock)
    for number in range(1_000):
        clock.now += WINDOW_S / 100
        if number % one_in:
            circuit.note_success(0)
        else:
            circuit.note_failure(0)

    assert circuit.state == state


def test_answers_to_what_was_asked_before_do_not_close_it(clock: Clock) -> None:
    circuit = opened(clock)

    circuit.note_success(0)
    assert circuit.state == "open"

    circuit.note_success(circuit.openings)
    assert circuit.state == "closed"


def test_a_check_that_finds_it_well_lets_one_request_through_at_a_time(clock: Clock) -> None:
    circuit = opened(clock)
    assert not circuit.begin_trial()
    clock.now += 1
    assert circuit.begin_check()
    circuit.note_check(is_well=True)

    assert circuit.state == "half open"
    assert [circuit.begin_trial(), circuit.begin_trial()] == [True, False]
    clock.now += TRIAL_EVERY_S
    assert circuit.begin_trial()


def test_a_trial_that_fails_opens_it_again(clock: Clock) -> None:
    circuit = opened(clock)
    circuit.note_check(is_well=True)

    circuit.note_failure(circuit.openings)

    assert circuit.state == "open"
    assert not circuit.begin_trial()


def test_answers_that_break_off_one_after_the_other_open_it_although_their_heads_were_well(
    clock: Clock,
) -> None:
    circuit = Circuit(clock)
    for _ in range(FAILURES_IN_A_ROW - 1):
        circuit.note_success(0)
        circuit.note_end(is_whole=False)
    circuit.note_end(is_whole=True)
    for _ in range(FAILURES_IN_A_ROW):
        assert circuit.state == "closed"
        circuit.note_success(0)
        circuit.note_end(is_whole=False)

    assert circuit.state == "open"


def test_one_that_breaks_off_after_them_opens_it_again_until_one_is_whole(clock: Clock) -> None:
    circuit = Circuit(clock)
    for _ in range(FAILURES_IN_A_ROW):
        circuit.note_end(is_whole=False)
    circuit.note_success(circuit.openings)
    circuit.note_end(is_whole=False)
    assert circuit.state == "open"
    clock.now += FIRST_REST_S
    assert not circuit.begin_check(), "it rests for longer now"

    circuit.note_success(circuit.openings)
    circuit.note_end(is_whole=True)
    circuit.note_end(is_whole=False)

    assert circuit.state == "closed"


def test_checks_come_one_at_a_time_and_never_far_apart(clock: Clock) -> None:
    """A teacher that is well again is found so within 10 s."""
    circuit = opened(clock)
    checked = []
    for _ in itertools.repeat(None, 600):
        clock.now += 0.1
        if circuit.begin_check():
            assert not circuit.begin_check()
            checked.append(clock.now)
            circuit.note_check(is_well=False)

    assert max(later - earlier for earlier, later in itertools.pairwise(checked)) < 5


@pytest.mark.parametrize(("asked_s", "rest_s"), [(6.0, 6.0), (3_600.0, LONGEST_ASKED_REST_S)])
def test_the_wait_that_the_teacher_asks_for_is_kept_within_bounds(
    clock: Clock, asked_s: float, rest_s: float
) -> None:
    circuit = opened(clock, asked_s)
    clock.now += rest_s - 0.1
    assert not circuit.begin_check()
    clock.now += 0.2

    assert circuit.begin_check()


def test_retries_stay_within_a_tenth_of_the_requests() -> None:
    budget = RetryBudget()
    taken = 0
    for _ in range(1_000):
        budget.note_request()
        taken += budget.take_retry()

    assert taken <= 100 + FIRST


def test_a_long_calm_saves_up_no_storm() -> None:
    budget = RetryBudget()
    for _ in range(10_000):
        budget.note_request()

    assert sum(budget.take_retry() for _ in range(100)) <= MOST + 1
