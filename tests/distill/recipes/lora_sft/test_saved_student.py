from __future__ import annotations

from pathlib import Path

import pytest

from gateway.distill.recipes.lora_sft.saved_student import SavedStudent, load, newest, parent, save

ROWS = frozenset("abcdefghij")


def student(base: str = "base", number: int = 1) -> SavedStudent:
    return SavedStudent(name="trained", weights={}, rows=ROWS, base=base, number=number)


def test_a_student_whose_lessons_no_longer_count_is_no_parent() -> None:
    """After an alarm only later rows are taught: who has the old habits must not go on."""
    assert parent(student(), "base", {"a", "b", "x", "y"}) is None


def test_a_student_is_a_parent_when_some_of_its_rows_fell_out_of_the_window() -> None:
    assert parent(student(), "base", {*"abcdef", "x", "y"}) == student()


def test_a_student_of_another_base_is_no_parent() -> None:
    assert parent(student(base="other"), "base", ROWS) is None


def test_nobody_has_no_child() -> None:
    assert parent(None, "base", ROWS) is None


@pytest.mark.learn
def test_the_latest_student_comes_back_as_it_was(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="needs the extra `learn`")
    weights = {"a.lora_A": torch.arange(6.0)}
    save(SavedStudent(name="trained", weights=weights, rows=ROWS, base="base", number=2), tmp_path / "second")
    save(student(), tmp_path / "first")

    found = newest(tmp_path / name for name in ("first", "second", "missing"))

    assert found is not None
    assert (found.rows, found.base, found.number) == (ROWS, "base", 2)
    assert torch.equal(found.weights["a.lora_A"], weights["a.lora_A"])


@pytest.mark.learn
def test_of_an_unreadable_student_nothing_is_taken_over(tmp_path: Path) -> None:
    """A broken disk costs what was learnt, which can be learnt again, not the task."""
    pytest.importorskip("torch", reason="needs the extra `learn`")
    (tmp_path / "trained").write_bytes(b"half a fi")
    assert load(tmp_path / "trained") is None
