"""A first stage is kept where lessons that it has not seen show that it costs nothing."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from gateway.distill.base import EvalResult, TrainingSet
from gateway.distill.recipes import head as recipe
from gateway.distill.recipes.head.first_stage import Rehearsal, compose, plan_first_stage
from gateway.harvest.base import Row
from gateway.specialists.runtimes.head import lesson_drafts, runtime
from gateway.specialists.runtimes.head.first_stage import FILE
from tests.distill.conftest import ToyEncoder, bench_of, harvested, tickets
from tests.specialists.hosting import drafted, resources_of


class TwoLooks(ToyEncoder):
    """A toy encoder that offers word vectors beside its embeddings."""

    def __init__(self) -> None:
        super().__init__()
        self.word_vectors = ToyEncoder("words@1")


def rehearsal(count: int = 1_000, *, errors_of_first: float = 0.0, confidence: float = 1.0) -> Rehearsal:
    """Both stages on `count` texts; the surer one is, the rarer its errors, but for those given."""
    draw = np.random.default_rng(0)
    margins = draw.uniform(0, 1, count) ** 0.2 * confidence
    is_wrong = draw.random(count) > margins**0.2 / confidence**0.2
    second_wrong = is_wrong & (draw.random(count) < 0.5)
    wrong = is_wrong | (draw.random(count) < errors_of_first)
    leads: NDArray[np.float64] = np.where(wrong & ~second_wrong, -0.3, margins)
    return Rehearsal(
        margins=margins,
        known=draw.uniform(0.4, 1, count),
        losses=wrong.astype(float),
        worth=leads,
        second_margins=np.where(second_wrong, 0.3, np.abs(leads)),
        second_losses=second_wrong.astype(float),
    )


def test_a_stage_that_errs_no_more_answers_what_it_is_sure_of() -> None:
    plan = plan_first_stage(rehearsal(), (0.02,))

    assert plan is not None
    assert 0.1 < plan.share < 0.5
    assert plan.rule.least_margin >= 0.93
    assert (np.diff(plan.rule.scores) >= 0).all()
    assert (np.diff(plan.rule.margins) > 0).all()


def test_both_stages_together_lose_neither_right_answers_nor_coverage() -> None:
    seen = rehearsal()
    plan = plan_first_stage(seen, (0.02,))
    assert plan is not None

    answered = (seen.margins >= plan.rule.least_margin) & (seen.known >= plan.rule.least_known)
    both = compose(seen, plan.rule, answered)
    alone = EvalResult(seen.second_margins.tolist(), seen.second_losses.tolist())

    assert sum(both.losses) <= sum(alone.losses) + 1
    for risk in (0.01, 0.02):
        assert both.coverage_at(risk) >= alone.coverage_at(risk) - 0.005


@pytest.mark.parametrize(
    "seen",
    [rehearsal(errors_of_first=0.05), rehearsal(confidence=0.85), rehearsal(200)],
    ids=["wrong where it is sure", "never sure", "too few texts"],
)
def test_a_stage_that_costs_answers_or_is_not_known_to_cost_none_is_not_kept(seen: Rehearsal) -> None:
    assert plan_first_stage(seen, (0.02,)) is None


def test_a_stage_that_is_sure_where_the_second_doubts_is_not_kept() -> None:
    """It was right about these texts, but stands for it with a score that a test of little risk begins at."""
    seen, draw = rehearsal(), np.random.default_rng(1)
    doubted = (seen.losses == 0) & (draw.random(len(seen.margins)) < 0.03)
    hasty = msgspec.structs.replace(
        seen,
        worth=np.where(doubted, 0.02, seen.worth),
        second_margins=np.where(doubted, 0.02, seen.second_margins),
    )

    assert plan_first_stage(hasty, (0.02,)) is None


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return tickets(1_200)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, rows: list[Row]) -> Path:
    made = tmp_path_factory.mktemp("version")
    report = recipe.create(recipe.Config()).train(TrainingSet.of(rows), made, bench_of(TwoLooks(), made))
    assert report.metrics["first_stage_share"] > 0.5
    return made


def test_a_stage_that_pays_spares_the_encoder(folder: Path) -> None:
    encoder = TwoLooks()
    specialist = runtime.create(folder, resources_of(encoder))
    asked = tickets(100, start=5_000)

    right = [drafted(specialist, row.text).text == row.answer for row in asked]

    assert sum(right) >= 95
    assert len(encoder.asked) < 50


def test_what_serves_in_two_stages_scores_as_what_was_rehearsed(
    folder: Path, rows: list[Row], tmp_path: Path
) -> None:
    exam = tickets(60, start=5_000)
    validated = recipe.create(recipe.Config()).validate(
        TrainingSet.of(rows), TrainingSet.of(exam), bench_of(TwoLooks(), tmp_path)
    )

    specialist = runtime.create(folder, resources_of(TwoLooks()))
    served = [drafted(specialist, row.text).score for row in exam]

    assert served == pytest.approx(list(validated.scores), abs=1e-4)


def test_lessons_are_drafted_to_the_same_bits_whichever_stage_it_was(
    folder: Path, rows: list[Row], tmp_path: Path
) -> None:
    known = runtime.create(folder, resources_of(TwoLooks()))
    for path in folder.iterdir():
        if path.is_file() and path.name != lesson_drafts.FILE:
            (tmp_path / path.name).write_bytes(path.read_bytes())
    forgetful = runtime.create(tmp_path, resources_of(TwoLooks()))

    drafts = [drafted(known, row.text) for row in rows]

    assert drafts == [drafted(forgetful, row.text) for row in rows]
    stages = {"first_stage" in draft.evidence for draft in drafts}
    assert stages == {True, False}


def test_where_words_mislead_no_stage_is_written(tmp_path: Path) -> None:
    """A third of the answers are random: no margin of 0.9 is worth anything."""
    rows = [harvested(f"word{n % 50} case {n}", f"answer {n * 7919 % 3}") for n in range(1_100)]

    report = recipe.create(recipe.Config()).train(
        TrainingSet.of(rows), tmp_path, bench_of(TwoLooks(), tmp_path)
    )

    assert report.metrics == {}
    assert not (tmp_path / FILE).exists()
