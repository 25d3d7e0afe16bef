"""Policies name teachers that there are; tasks of another first teacher are others."""

from __future__ import annotations

import pytest

from gateway.core import Grant
from gateway.errors import ConfigError
from gateway.policy.planner import PolicyPlanner
from gateway.policy.schema import Policy
from gateway.policy.teachers import check_teachers, teacher_terms


@pytest.mark.parametrize(
    ("teachers", "message"), [(("c",), "unknown teacher 'c'; known: a, b"), (("a", "a"), "named twice")]
)
def test_a_teacher_that_there_is_not_is_refused(teachers: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_teachers([Policy(name="p", teachers=teachers)], ["a", "b"])


@pytest.mark.parametrize(
    ("teachers", "message"),
    [(("a",), "'b' is none of its teachers; these are: a"), (None, "need `teachers`")],
)
def test_weights_are_of_teachers_that_the_policy_names(
    teachers: tuple[str, ...] | None, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        check_teachers([Policy(name="p", teachers=teachers, weights={"b": 1})], ["a", "b"])


def test_a_policy_says_who_is_asked_and_how_patiently() -> None:
    policy = Policy(
        name="p",
        teachers=("a", "b"),
        weights={"b": 2},
        first_byte_timeout_s=5,
        idle_timeout_s=6,
        keepalive_s=7,
    )

    assert teacher_terms(policy) == {
        "teachers": ("a", "b"),
        "weights": (0.0, 2.0),
        "first_byte_s": 5.0,
        "idle_s": 6.0,
        "keepalive_s": 7.0,
    }


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
