from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from gateway.distill.base import TrainingSet
from gateway.distill.recipes import head as recipe
from gateway.errors import RegistryError, TrainingError
from gateway.harvest.base import Row
from gateway.specialists import answer_tokens, familiarity
from gateway.specialists.runtimes.head import lesson_drafts, runtime
from tests.distill.conftest import ToyEncoder, Train, bench_of, harvested, tickets
from tests.specialists.hosting import drafted, resources_of


def test_a_trained_head_answers_what_it_was_taught(train: Train) -> None:
    specialist = train(tickets(200))
    right = [drafted(specialist, row.text).text == row.answer for row in tickets(100, start=1000)]
    assert sum(right) >= 95


def test_two_answers_are_enough(train: Train) -> None:
    """Two classes come out of the regression as one column; one answer would be served for all."""
    rows = [row for row in tickets(300) if row.answer != "refund"]
    specialist = train(rows)
    assert {drafted(specialist, row.text).text for row in rows} == {"card_lost", "card_arrival"}


def test_what_serves_scores_as_what_was_rehearsed(encoder: ToyEncoder, train: Train, tmp_path: Path) -> None:
    """The power of an attempt is judged by rehearsals: their scores must be those of serving."""
    lessons, exam = tickets(200, noise=0.2), tickets(50, start=1000)
    validated = recipe.create(recipe.Config()).validate(
        TrainingSet.of(lessons), TrainingSet.of(exam), bench_of(encoder, tmp_path)
    )
    specialist = train(lessons)

    served = [drafted(specialist, row.text) for row in exam]

    assert [draft.score for draft in served] == pytest.approx(list(validated.scores), abs=1e-4)
    wrong = [float(draft.text != row.answer) for draft, row in zip(served, exam, strict=True)]
    assert wrong == list(validated.losses)


def test_the_teachers_commonest_wording_is_served(train: Train) -> None:
    rows = [harvested(f"lost {n}", '{"kind":"lost"}' if n % 4 else '{"kind": "lost"}') for n in range(40)]
    rows += [harvested(f"refund {n}", '{"kind": "refund"}') for n in range(40)]
    assert drafted(train(rows), "lost 99").text == '{"kind":"lost"}'


def test_a_draft_says_the_most_tokens_that_the_teacher_took_for_its_answer(train: Train) -> None:
    tokens = {"card_lost": (3, 4), "card_arrival": (5, 0), "refund": (0, 0)}
    rows = [
        msgspec.structs.replace(row, completion_tokens=tokens[row.answer][number // 3 % 2])
        for number, row in enumerate(tickets(200))
    ]
    specialist = train(rows)

    drafts = [drafted(specialist, row.text) for row in rows]

    took = {draft.text: draft.teacher_tokens for draft in drafts}
    assert took == {"card_lost": 4, "card_arrival": 5, "refund": 0}


def test_a_lesson_is_drafted_without_the_encoder_and_to_the_same_bits(
    encoder: ToyEncoder, train: Train, tmp_path: Path
) -> None:
    """The certificate of learnt texts speaks of these very numbers."""
    rows = [*tickets(100), *tickets(2)]
    specialist = train(rows)
    encoder.asked.clear()
    known = [drafted(specialist, row.text) for row in rows]
    assert encoder.asked == []

    (tmp_path / lesson_drafts.FILE).unlink()
    forgetful = runtime.create(tmp_path, resources_of(encoder))

    assert [drafted(forgetful, row.text) for row in rows] == known


def test_a_text_that_only_resembles_a_lesson_is_encoded(encoder: ToyEncoder, train: Train) -> None:
    rows = tickets(100)
    specialist = train(rows)
    encoder.asked.clear()

    drafted(specialist, rows[0].text + " ")

    assert encoder.asked == [rows[0].text + " "]


def test_drafts_of_lessons_that_do_not_fit_the_head_are_refused(train: Train, tmp_path: Path) -> None:
    train(tickets(100))

    with pytest.raises(RegistryError, match="does not fit its head"):
        lesson_drafts.read_lesson_drafts(tmp_path, answers=1)


def test_an_older_head_does_not_say_what_the_teacher_took(train: Train, tmp_path: Path) -> None:
    train(tickets(200))
    (tmp_path / answer_tokens.FILE).unlink()
    assert set(runtime.read_head(tmp_path, 16).answer_tokens) == {0}


def test_the_same_lessons_and_seed_give_the_same_files(encoder: ToyEncoder, tmp_path: Path) -> None:
    made = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        recipe.create(recipe.Config()).train(
            TrainingSet.of(tickets(100)), tmp_path / name, bench_of(encoder, tmp_path, 3)
        )
        made.append(runtime.read_head(tmp_path / name, encoder.dimension))
    assert (made[0].coefficients == made[1].coefficients).all()
    files = [(tmp_path / name / familiarity.FILE).read_bytes() for name in ("a", "b")]
    assert files[0] == files[1]
    assert made[0].answers == made[1].answers


def test_texts_which_the_encoder_refuses_are_left_out(encoder: ToyEncoder, tmp_path: Path) -> None:
    rows = [*tickets(100), harvested("word " * 50, "refund"), harvested(" ", "refund")]
    report = recipe.create(recipe.Config()).train(TrainingSet.of(rows), tmp_path, bench_of(encoder, tmp_path))
    assert (report.rows, report.answers) == (100, 3)


def test_rare_answers_beyond_the_limit_are_not_learnt(encoder: ToyEncoder, tmp_path: Path) -> None:
    rows = [row for row in tickets(100) if row.answer != "refund"] + [harvested("refund", "refund")]
    report = recipe.create(recipe.Config(max_answers=2)).train(
        TrainingSet.of(rows), tmp_path, bench_of(encoder, tmp_path)
    )
    assert report.answers == 2
    assert "refund" not in runtime.read_head(tmp_path, encoder.dimension).answers


@pytest.mark.parametrize("rows", [[], [harvested("lost", "a"), harvested("gone", " a ")]])
def test_fewer_than_two_answers_cannot_be_learnt(
    encoder: ToyEncoder, tmp_path: Path, rows: list[Row]
) -> None:
    with pytest.raises(TrainingError, match="a head needs two"):
        recipe.create(recipe.Config()).train(TrainingSet.of(rows), tmp_path, bench_of(encoder, tmp_path))


def test_an_exam_which_nobody_can_read_is_refused(encoder: ToyEncoder, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="exam"):
        recipe.create(recipe.Config()).validate(
            TrainingSet.of(tickets(50)), TrainingSet([], []), bench_of(encoder, tmp_path)
        )
