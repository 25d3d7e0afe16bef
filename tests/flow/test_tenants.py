"""What one tenant taught is served to that tenant alone, over HTTP."""

from __future__ import annotations

from loadtests.tenants import TENANTS, measure


def test_two_tenants_with_one_task_never_meet() -> None:
    """`python -m loadtests.tenants` does the same with 10,000 requests."""
    figures = measure(requests=1_200)

    assert figures.holds, figures
    assert figures.foreign == 0
    assert set(figures.statuses) == {"200", "404"}
    assert all(figures.refused[tenant] > 50 for tenant in TENANTS), figures


def test_near_copies_of_two_tenants_are_answered_by_their_own_specialists() -> None:
    """A hundred templates that differ in a number. Where two are as near, the teacher answers."""
    figures = measure(requests=1_200, templates=50)

    assert figures.holds, figures
    assert (figures.foreign, figures.misrouted) == (0, 0)
