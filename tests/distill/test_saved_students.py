from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from gateway.distill.base import TrainingSet
from gateway.distill.recipes.span.training import Hyperparameters
from gateway.distill.saved_students import SavedStudent, SavedStudents, row_digest

ROWS = frozenset("abcdefghij")


def student(base: str = "base", number: int = 1) -> SavedStudent:
    return SavedStudent(purpose="version", weights={}, learned=ROWS, base=base, number=number)


def test_a_student_is_no_parent_when_most_of_its_rows_no_longer_count() -> None:
    """After an alarm only later rows are taught: a student with the old habits must not go on."""
    assert not student().may_be_parent("base", {"a", "b", "x", "y"})


def test_a_student_is_a_parent_when_some_of_its_rows_fell_out_of_the_window() -> None:
    assert student().may_be_parent("base", {*"abcdef", "x", "y"})


def test_a_student_of_another_base_is_no_parent() -> None:
    assert not student(base="other").may_be_parent("base", ROWS)


def test_without_a_saved_student_every_row_is_for_validation(tmp_path: Path) -> None:
    lineage, rows = SavedStudents(tmp_path, "base").start_validation(["a"], ["b", "c"], 1)
    assert lineage.parent is None
    assert rows == [0, 1]
    assert SavedStudents(tmp_path, "base").start_version(["a"]).parent is None


def test_rows_that_an_ancestor_learned_are_not_validated_on() -> None:
    assert student().find_unlearned(["t0", "a", "t2"]) == [0, 2]


def test_a_row_is_a_new_one_when_its_answer_has_changed() -> None:
    """The new answer is to be learned."""
    digests = [row_digest("a", "b"), row_digest("a", "c"), row_digest("ab", ""), row_digest("a", "b")]
    assert len(set(digests)) == 3


@pytest.mark.learn
def test_the_latest_student_comes_back_as_it_was(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="needs the extra `learn`")
    weights = {"a.lora_A": torch.arange(6.0)}
    students = SavedStudents(tmp_path, "base")
    students.start_validation([], [], 0)[0].save(["old"], {})
    students.start_version([]).save(ROWS, weights, {"tags": ["O"]})

    found = students.start_version(ROWS).parent

    assert found is not None
    assert (found.purpose, found.learned, found.base, found.number) == ("version", ROWS, "base", 2)
    assert torch.equal(found.weights["a.lora_A"], weights["a.lora_A"])
    assert found.outputs == {"tags": ["O"]}


@pytest.mark.learn
def test_a_child_knows_what_its_parent_learned(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs the extra `learn`")
    students = SavedStudents(tmp_path, "base")
    students.start_version([]).save(["a", "b"], {})
    students.start_version(["a", "b", "c"]).save(["b", "c"], {})
    found = students.load_latest()
    assert found is not None
    assert (found.learned, found.number) == (frozenset("abc"), 2)


@pytest.mark.learn
def test_a_student_that_knows_most_validation_rows_is_not_validated_further(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs the extra `learn`")
    students = SavedStudents(tmp_path, "base")
    students.start_validation([], [], 0)[0].save(["a", "b"], {})

    kept, rows = students.start_validation(["a", "b"], ["b", "c", "d"], 2)
    assert (kept.parent is None, rows) == (False, [1, 2])
    new, rows = students.start_validation(["a", "b"], ["b", "c", "d"], 3)
    assert (new.parent is None, rows) == (True, [0, 1, 2])


@pytest.mark.learn
@pytest.mark.parametrize("name", ["broken", "older"])
def test_an_unreadable_student_is_ignored(tmp_path: Path, name: str) -> None:
    """A broken disk, or another layout, costs what was learned, which can be learned again, not the task."""
    torch = pytest.importorskip("torch", reason="needs the extra `learn`")
    if name == "broken":
        (tmp_path / "version").write_bytes(b"half a fi")
    else:
        torch.save({"name": "version", "weights": {}}, tmp_path / "version")
    assert SavedStudents(tmp_path, "base").load_latest() is None


@pytest.mark.learn
def test_another_training_has_another_checkpoint(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs the extra `learn`")
    lineage = SavedStudents(tmp_path, "base").start_version([])
    rows, fast = TrainingSet(["a"], ["b"]), Hyperparameters(passes=4, rate=0.1, seed=0)
    lineage.open_checkpoint(rows, fast).save({"done": 1})
    assert lineage.open_checkpoint(TrainingSet(["a"], ["c"]), fast).load() is None
    assert lineage.open_checkpoint(rows, msgspec.structs.replace(fast, rate=0.2)).load() is None
    assert lineage.open_checkpoint(rows, fast).load() is not None
