from __future__ import annotations

from gateway.ipc.backoff import Backoff


def test_pauses_double_up_to_the_longest() -> None:
    backoff = Backoff(0.5, 3.0)

    assert [backoff.next_pause_s() for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_after_a_success_the_first_pause_comes_again() -> None:
    backoff = Backoff(0.5, 3.0)
    backoff.next_pause_s()
    backoff.next_pause_s()

    backoff.reset()

    assert backoff.next_pause_s() == 0.5
