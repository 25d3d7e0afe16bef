"""When live drafts are unsure too often for the mix that was imported."""

from __future__ import annotations

import pytest

from gateway.confidence.judging import ScoredAudit
from gateway.distill.imported_alarm import is_other_mix
from tests.support.builders import scored_audit


def audits(scores: list[float]) -> list[ScoredAudit]:
    """Return an audit of a text of its own for each score."""
    return [scored_audit(number, at=60.0 * number, score=score) for number, score in enumerate(scores)]


HARD = [number / 100 for number in range(100)]
EASY = [0.98 + number / 10_000 for number in range(100)]


@pytest.mark.parametrize(
    ("imported", "live", "is_other"),
    [
        (HARD, [0.9, 0.1] * 20, True),
        (HARD, HARD[::7] * 3, False),
        (EASY, [0.99, 0.97] * 20, True),
        (EASY, EASY[::7] * 3, False),
        ([], [0.1] * 40, False),
    ],
)
def test_half_of_the_drafts_must_be_less_sure_than_a_fifth_of_those_imported(
    imported: list[float], live: list[float], *, is_other: bool
) -> None:
    assert is_other_mix(audits(imported), audits(live)) is is_other
