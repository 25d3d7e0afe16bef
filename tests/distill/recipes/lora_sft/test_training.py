from __future__ import annotations

from gateway.distill.recipes.lora_sft.dataset import Example
from gateway.distill.recipes.lora_sft.training import TrainingPlan


def rows(start: int, count: int) -> list[Example]:
    return [Example([1, 2], [3], str(n)) for n in range(start, start + count)]


def course(fresh: int, known: int) -> TrainingPlan:
    return TrainingPlan(
        fresh=rows(0, fresh),
        known=rows(1000, known),
        watched=[],
        rate=1e-3,
        batch_rows=4,
        passes=2,
        replayed=0.5,
        seed=0,
    )


def test_every_new_row_is_seen_in_each_pass_beside_its_share_of_known_ones() -> None:
    seen = [int(row.mark) for batch in course(20, 100).steps() for row in batch]
    assert sorted(n for n in seen if n < 1000) == sorted([*range(20)] * 2)
    assert len(seen) == 2 * (20 + 10)


def test_no_more_known_rows_are_replayed_than_there_are() -> None:
    seen = [row for batch in course(20, 3).steps() for row in batch]
    assert len(seen) == 2 * (20 + 3)


def test_without_new_rows_there_is_nothing_to_learn() -> None:
    assert course(0, 100).steps() == []


def test_the_same_course_has_the_same_steps() -> None:
    """Else a killed training would go on elsewhere than it stopped."""
    assert course(20, 100).steps() == course(20, 100).steps()
