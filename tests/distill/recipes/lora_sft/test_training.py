from __future__ import annotations

from gateway.distill.recipes.lora_sft.dataset import TokenizedRow
from gateway.distill.recipes.lora_sft.training import TrainingPlan


def rows(start: int, count: int) -> list[TokenizedRow]:
    return [TokenizedRow([1, 2], [3], str(n)) for n in range(start, start + count)]


def plan(new: int, learned: int) -> TrainingPlan:
    return TrainingPlan(
        new=rows(0, new),
        learned=rows(1000, learned),
        validation=[],
        rate=1e-3,
        batch_rows=4,
        passes=2,
        replayed=0.5,
        seed=0,
    )


def test_every_new_row_is_seen_in_each_pass_beside_its_share_of_learned_ones() -> None:
    seen = [int(row.digest) for batch in plan(20, 100).draw_steps() for row in batch]
    assert sorted(n for n in seen if n < 1000) == sorted([*range(20)] * 2)
    assert len(seen) == 2 * (20 + 10)


def test_no_more_learned_rows_are_replayed_than_there_are() -> None:
    seen = [row for batch in plan(20, 3).draw_steps() for row in batch]
    assert len(seen) == 2 * (20 + 3)


def test_without_new_rows_there_is_nothing_to_learn() -> None:
    assert plan(0, 100).draw_steps() == []


def test_the_same_plan_has_the_same_steps() -> None:
    """Else a killed training would resume at another place than it stopped."""
    assert plan(20, 100).draw_steps() == plan(20, 100).draw_steps()
