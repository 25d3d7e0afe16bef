from __future__ import annotations

from gateway.distill.curate import curate
from tests.distill.conftest import harvested


def test_a_text_is_learnt_once_with_its_latest_answer() -> None:
    rows = [harvested("t", "old", at=1), harvested("u", "x", at=2), harvested(" t\n", "new", at=3)]

    curated = curate(rows)

    assert [(row.text, row.answer) for row in curated.training] == [("u", "x"), (" t\n", "new")]
    assert curated.conflicts == 1


def test_equal_answers_in_another_form_are_no_conflict() -> None:
    rows = [harvested("t", '{"a": 1}', at=1), harvested("t", '{"a":1}', at=2)]
    assert curate(rows).conflicts == 0
