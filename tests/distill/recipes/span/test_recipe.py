from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from gateway.core import DraftRequest
from gateway.distill.base import TrainingSet, Workspace
from gateway.distill.recipes.span import recipe
from gateway.distill.saved_students import SavedStudent, row_digest
from gateway.errors import TrainingError
from gateway.specialists.base import NullListener
from gateway.specialists.engine.pool import EnginePool
from gateway.specialists.runtimes.tagger import lesson_drafts, option_head, runtime
from gateway.specialists.shared_resources import SharedResources
from tests.specialists.hosting import FlatEncoder

NAMES = ("Ada", "Grace", "Alan", "Edsger", "Barbara", "Donald", "Tony", "Niklaus")
CITIES = ("Oslo", "Rome", "Lima", "Paris", "Quito", "Cairo", "Delhi", "Bonn")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    folder = tmp_path / "bench"
    folder.mkdir()
    return Workspace(
        folder=folder, seed=0, resources=SharedResources(FlatEncoder(), EnginePool(tmp_path / "models", 64))
    )


def bookings(rows: int, seed: int) -> TrainingSet:
    """Return bookings and cancellations; both name a person, only bookings a city."""
    draw = random.Random(seed)
    texts, answers = [], []
    for number in range(rows):
        name, city = draw.choice(NAMES), draw.choice(CITIES)
        if draw.random() < 0.5:
            texts.append(f"please book seat {number} for {name} to {city}")
            answers.append(json.dumps({"intent": "book", "who": name, "city": city}))
        else:
            texts.append(f"cancel what {name} has, number {number}")
            answers.append(json.dumps({"intent": "cancel", "who": name}))
    return TrainingSet(texts, answers)


# 20 s of CPU, which a busy machine may stretch; torch and onnxruntime warn of their own insides.
@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.learn
def test_a_student_learns_to_cut_json_and_goes_on_where_it_was(tmp_path: Path, workspace: Workspace) -> None:
    """One test, as it takes seconds: validate, train on from there, and serve."""
    pytest.importorskip("torch", reason="needs the extra `learn`")
    span = recipe.create(recipe.Config(fewest_rows=1, first_rows=1_000, further_passes=1))

    validated = span.validate(bookings(120, seed=1), bookings(40, seed=2), workspace)
    assert len(validated.drafts) == 40
    assert sum(validated.losses) <= 8

    folder = tmp_path / "version"
    folder.mkdir()
    report = span.train(bookings(160, seed=1), folder, workspace)
    assert sorted(path.name for path in folder.iterdir()) == [
        "grammar.json",
        "lesson_drafts.msgpack",
        "model.onnx",
        "neighbors.npy",
        "tokenizer.json",
    ]
    assert report.rows == 160
    assert report.metrics["rows_left_out"] == 0

    served = runtime.create(folder, workspace.resources)
    said = served.draft(DraftRequest(text="please book seat 900 for Grace to Quito"), NullListener())
    assert json.loads(said.text) == {"intent": "book", "who": "Grace", "city": "Quito"}
    assert said == served.draft(DraftRequest(text="please book seat 900 for Grace to Quito"), NullListener())

    lessons = [DraftRequest(text=text) for text in bookings(160, seed=1).texts]
    known = [served.draft(lesson, NullListener()) for lesson in lessons]
    (folder / lesson_drafts.FILE).unlink()
    forgetful = runtime.create(folder, workspace.resources)
    assert [forgetful.draft(lesson, NullListener()) for lesson in lessons] == known


@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.learn
def test_labels_are_judged_by_a_head_beside_the_network(tmp_path: Path, workspace: Workspace) -> None:
    pytest.importorskip("torch", reason="needs the extra `learn`")
    booked = bookings(120, seed=1)
    labels = ["trip" if "city" in answer else "refund" for answer in booked.answers]
    span = recipe.create(recipe.Config(fewest_rows=1, first_rows=300))
    span.train(TrainingSet(booked.texts, labels, [7] * len(labels)), tmp_path, workspace)
    assert (tmp_path / option_head.FILE).exists()

    request = DraftRequest(text="please book seat 900 for Grace to Quito")
    said = runtime.create(tmp_path, workspace.resources).draft(request, NullListener())
    (tmp_path / option_head.FILE).unlink()
    alone = runtime.create(tmp_path, workspace.resources).draft(request, NullListener())
    assert said.text == alone.text == "trip"
    assert said.score != alone.score
    assert said.teacher_tokens == 7


@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.learn
def test_students_start_again_while_there_are_few_rows(tmp_path: Path, workspace: Workspace) -> None:
    """So that each is asked every row kept back, and not what no ancestor has learned."""
    pytest.importorskip("torch", reason="needs the extra `learn`")
    few, more, exam = bookings(60, seed=1), bookings(100, seed=1), bookings(40, seed=2)
    learned = TrainingSet([*exam.texts[:10], *few.texts], [*exam.answers[:10], *few.answers])
    asked = []
    for afresh_rows in (100, 0):
        span = recipe.create(
            recipe.Config(
                fewest_rows=1, first_passes=1, first_rows=1, further_passes=1, afresh_rows=afresh_rows
            )
        )
        span.validate(learned, exam, workspace)
        asked.append(len(span.validate(more, exam, workspace).losses))

    assert asked == [40, sum(text not in learned.texts for text in exam.texts)]


def saved(texts: Sequence[str]) -> SavedStudent:
    learned = frozenset(row_digest(text) for text in texts)
    return SavedStudent(purpose="validation", number=1, base="", learned=learned, weights={})


def test_texts_that_an_ancestor_has_learned_are_not_validated_on() -> None:
    rows = TrainingSet(["t0", "t1", "t2"], ["a", "b", "c"])
    unlearned = saved(["t1"]).find_unlearned(recipe.digest_texts(rows))
    assert rows.select(unlearned) == TrainingSet(["t0", "t2"], ["a", "c"])


def test_a_student_whose_rows_no_longer_count_is_no_parent() -> None:
    """After an alarm only later rows may be learned: a student with the old habits must not go on."""
    old = saved([f"t{n}" for n in range(10)])
    few = TrainingSet([f"t{n}" for n in range(4)], ["x"] * 4)
    most = TrainingSet([f"t{n}" for n in range(20)], ["x"] * 20)
    assert not old.may_be_parent("", recipe.digest_texts(few))
    assert old.may_be_parent("", recipe.digest_texts(most))


@pytest.mark.learn
def test_answers_which_cannot_be_rebuilt_are_refused(tmp_path: Path, workspace: Workspace) -> None:
    essays = TrainingSet([f"text {n}" for n in range(30)], [f"essay number {n * 77}" for n in range(30)])
    with pytest.raises(TrainingError, match="0% of 30 answers can be rebuilt"):
        recipe.create(recipe.Config(fewest_rows=1)).train(essays, tmp_path, workspace)
