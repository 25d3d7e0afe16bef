"""Policies name teachers that there are; tasks of another first teacher are others."""

from __future__ import annotations

import pytest

from gateway.core import Grant
from gateway.errors import ConfigError
from gateway.policy.planner import PolicyPlanner
from gateway.policy.schema import Policy
from gateway.policy.teachers import check_teachers


@pytest.mark.parametrize(
    ("teachers", "message"), [(("c",), "unknown teacher 'c'; known: a, b"), (("a", "a"), "named twice")]
)
def test_a_teacher_that_there_is_not_is_refused(teachers: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_teachers([Policy(name="p", teachers=teachers)], ["a", "b"])


@pytest.mark.parametrize(
    ("teachers", "scope"),
    [
        (None, "tenant:t"),
        (("a",), "tenant:t"),
        (("a", "b"), "tenant:t"),
        (("b", "a"), "tenant:t teacher:b"),
    ],
)
def test_what_another_teacher_teaches_is_a_task_of_its_own(
    teachers: tuple[str, ...] | None, scope: str
) -> None:
    planner = PolicyPlanner([Policy(name="p", teachers=teachers)], lambda _: 0.0, first_teacher="a")

    assert planner.scope("gpt-4o", "caller", "t", Grant()) == scope
