from __future__ import annotations

import random

from gateway.distill.base import TrainingSet
from gateway.distill.recipes.lora_sft.dataset import TokenizedRow, cut_batches, digest_rows, split_by_tokens


def examples(count: int) -> list[TokenizedRow]:
    draw = random.Random(0)
    return [
        TokenizedRow([1] * draw.randrange(1, 40), [2] * draw.randrange(1, 20), str(n)) for n in range(count)
    ]


def test_a_pass_shows_every_row_once() -> None:
    seen = [row.digest for batch in cut_batches(examples(203), 8, random.Random(1)) for row in batch]
    assert sorted(seen) == sorted(str(n) for n in range(203))


def test_rows_of_a_batch_have_similar_lengths() -> None:
    """Padding costs as much as tokens do."""
    cut = list(cut_batches(examples(512), 8, random.Random(1)))
    padded = sum(len(batch) * max(map(len, batch)) for batch in cut)
    assert padded <= 1.15 * sum(len(row) for batch in cut for row in batch)


def test_the_same_draw_gives_the_same_order() -> None:
    once, again = (list(cut_batches(examples(50), 8, random.Random(3))) for _ in range(2))
    assert once == again


def test_a_row_is_a_new_one_when_its_answer_has_changed() -> None:
    """A teacher that changed its answers is to be learned from again."""
    assert len(set(digest_rows(TrainingSet(["a", "a", "ab", "a"], ["b", "c", "", "b"])))) == 3


def test_no_part_of_a_step_is_larger_than_memory_allows() -> None:
    """Padding counts; a row that is too long by itself comes alone."""
    rows = [*examples(64), TokenizedRow([1] * 300, [2], "long")]
    cut = list(split_by_tokens(rows, 200))
    assert sorted(row.digest for part in cut for row in part) == sorted(row.digest for row in rows)
    assert all(len(part) * max(map(len, part)) <= 200 for part in cut if len(part) > 1)
    assert len(cut[-1]) == 1
