"""A jump of the clock is not believed at once; a correction, and one that stays, are."""

from __future__ import annotations

import pytest

from gateway.core.steady_clock import BELIEVED_AFTER_S, SteadyClock

START = 1_800_000_000.0
YEAR_S = 365 * 86_400.0


class Machine:
    """Two clocks: one that only runs, one that can be set."""

    def __init__(self) -> None:
        self.running = 100.0
        self.offset = START - 100.0
        self.clock = SteadyClock(lambda: self.running + self.offset, lambda: self.running)

    def wait(self, seconds: float) -> float:
        self.running += seconds
        return self.clock() - START


@pytest.mark.parametrize("jump_s", [YEAR_S, -YEAR_S, 3_600.0])
def test_a_jump_that_is_taken_back_is_never_seen(jump_s: float) -> None:
    """A certificate neither lapses early nor lives longer."""
    machine = Machine()
    assert machine.wait(10) == 10

    machine.offset += jump_s
    assert machine.wait(10) == 20
    assert machine.wait(300) == 320

    machine.offset -= jump_s
    assert machine.wait(10) == 330


def test_a_clock_that_stays_where_it_was_set_is_followed() -> None:
    machine = Machine()
    machine.offset += YEAR_S
    machine.wait(1)

    assert machine.wait(BELIEVED_AFTER_S + 1) == YEAR_S + BELIEVED_AFTER_S + 2


def test_small_corrections_are_followed_at_once() -> None:
    machine = Machine()

    machine.offset += 5
    assert machine.wait(10) == 15

    machine.offset -= 10
    assert machine.wait(10) == 15
