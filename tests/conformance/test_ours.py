"""Our gateway passes every check of the table, one test each; its other engine those that it can change."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conformance.answers import default_play
from tests.conformance.harness import Harness
from tests.conformance.ours import our_harness
from tests.conformance.table import Check, all_checks
from tests.conformance.teacher import Teacher, serve_teacher

OF_THE_ENGINE = {"cut_streams", "framing", "headers", "leaving", "media", "paths", "streams", "websockets"}
"""The chapters whose checks reach down to the connection; `python -m tests.conformance --transport httpcore`
runs all."""


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    with (
        serve_teacher(default_play) as teacher,
        our_harness(tmp_path_factory.mktemp("conformance") / "home", teacher) as harness,
    ):
        yield harness


@pytest.fixture(scope="module")
def other_harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    """The gateway with the engine for teachers that our own client cannot reach."""
    home = tmp_path_factory.mktemp("httpcore") / "home"
    with (
        serve_teacher(default_play) as teacher,
        our_harness(home, teacher, STEPDOWN_UPSTREAM_TRANSPORT="httpcore") as harness,
    ):
        yield harness


@pytest.fixture
def teacher(harness: Harness) -> Teacher:
    """The teacher without memory of other checks."""
    harness.teacher.forget()
    return harness.teacher


@pytest.mark.parametrize("check", all_checks(), ids=lambda check: f"{check.number} {check.rule}")
def test_ours(harness: Harness, teacher: Teacher, check: Check) -> None:
    check.body(harness)


@pytest.mark.parametrize(
    "check",
    [check for check in all_checks() if check.body.__module__.rpartition(".")[2] in OF_THE_ENGINE],
    ids=lambda check: f"{check.number} {check.rule}",
)
def test_ours_with_the_other_engine(other_harness: Harness, check: Check) -> None:
    other_harness.teacher.forget()
    check.body(other_harness)


def test_the_table_is_long_enough() -> None:
    assert len(all_checks()) >= 100
