"""Our gateway passes every check of the table, one test each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conformance.answers import default_play
from tests.conformance.harness import Harness
from tests.conformance.ours import our_harness
from tests.conformance.table import Check, all_checks
from tests.conformance.teacher import Teacher, serve_teacher


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    with (
        serve_teacher(default_play) as teacher,
        our_harness(tmp_path_factory.mktemp("conformance") / "home", teacher) as harness,
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


def test_the_table_is_long_enough() -> None:
    assert len(all_checks()) >= 100
