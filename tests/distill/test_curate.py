from __future__ import annotations

import pytest

from gateway.distill.curate import curate, require_labels
from gateway.errors import TrainingError
from tests.distill.conftest import harvested


def test_a_text_is_learnt_once_with_its_latest_answer() -> None:
    rows = [harvested("t", "old", at=1), harvested("u", "x", at=2), harvested(" t\n", "new", at=3)]

    curated = curate(rows, [])

    assert [(row.text, row.answer) for row in curated.training] == [("u", "x"), (" t\n", "new")]
    assert curated.conflicts == 1


def test_evidence_stays_as_it_was_drawn() -> None:
    """The certificate speaks of requests: what is asked more often weighs more."""
    evidence = [harvested("t", "a", at=n, held_out=True) for n in range(3)]
    assert curate([harvested("t", "a")], evidence).evidence == evidence


def test_equal_answers_in_another_form_are_no_conflict() -> None:
    rows = [harvested("t", '{"a": 1}', at=1), harvested("t", '{"a":1}', at=2)]
    assert curate(rows, []).conflicts == 0


def test_labels_pass() -> None:
    require_labels([harvested(f"t{n}", f"label {n % 5}") for n in range(100)])


@pytest.mark.parametrize("distinct", [100, 40, 26])
def test_answers_which_hardly_repeat_are_refused_with_numbers(distinct: int) -> None:
    rows = [harvested(f"t{n}", f"answer {n % distinct}") for n in range(100)]
    with pytest.raises(TrainingError, match=f"{distinct} distinct in 100 rows"):
        require_labels(rows)


def test_a_few_labels_among_free_text_are_refused() -> None:
    rows = [harvested(f"t{n}", "yes" if n < 80 else f"essay {n}") for n in range(100)]
    require_labels(rows)
    with pytest.raises(TrainingError):
        require_labels(rows[60:])
