"""Our gateway passes every check of the table, one test each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conformance.answers import usual
from tests.conformance.harness import Lab
from tests.conformance.ours import our_lab
from tests.conformance.table import Check, all_checks
from tests.conformance.teacher import Teacher, teaching


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with teaching(usual) as teacher, our_lab(tmp_path_factory.mktemp("conformance") / "home", teacher) as lab:
        yield lab


@pytest.fixture
def teacher(lab: Lab) -> Teacher:
    """The teacher without memory of other checks."""
    lab.teacher.forget()
    return lab.teacher


@pytest.mark.parametrize("check", all_checks(), ids=lambda check: f"{check.number} {check.rule}")
def test_ours(lab: Lab, teacher: Teacher, check: Check) -> None:
    check.body(lab)


def test_the_table_is_long_enough() -> None:
    assert len(all_checks()) >= 100
