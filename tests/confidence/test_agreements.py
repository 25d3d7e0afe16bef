"""What counts as the teacher's answer under each agreement that a policy may name."""

from __future__ import annotations

import pytest

from gateway.confidence.agreement import measure_loss


@pytest.mark.parametrize(
    ("agreement", "teacher", "draft"),
    [
        ("json", '{"a": 1, "b": null}', '```json\n{"a": 1.0}\n```'),
        ("json", "```\n[1]\n```", "[ 1 ]"),
        ("json", "yes", " yes\n"),
        ("number:0.01", "about 1,000 km", "about 1009.5 km"),
        ("number:0.01", '{"price": 20.0}', '{"price":20.1}'),
        ("number", "it is 7", "it is 7.0"),
        ("text", 'Rome, "the eternal city".', "rome the Eternal city"),
        ("text", "Nein!", "nein"),
        ("set_f1", "red, green; blue", "blue\nred\ngreen"),
        ("set_f1", '{"drugs": ["a", "b"]}', '{"drugs": ["b", "a", "a"]}'),
        ("set_f1", '{"drugs": []}', '{"drugs": [], "genes": []}'),
    ],
)
def test_these_agree(agreement: str, teacher: str, draft: str) -> None:
    assert measure_loss(teacher, draft, agreement=agreement) == 0.0


@pytest.mark.parametrize(
    ("agreement", "teacher", "draft"),
    [
        ("json", '{"a": 1}', '{"a": "1"}'),
        ("json", "[1, 2]", "[2, 1]"),
        ("number:0.01", "about 1000 km", "about 1011 km"),
        ("number:0.01", "up 5 %", "down 5 %"),
        ("number:0.5", "5 of 10", "5"),
        ("number:0.5", "model v2", "model v3"),
        ("number:0.01", "-5", "5"),
        ("text", "-5", "5"),
        ("text", "C#", "C"),
        ("text", "?", "!"),
        ("set_f1", '{"drugs": ["a"]}', '{"genes": ["a"]}'),
        ("set_f1", "red", ""),
    ],
)
def test_these_do_not_agree(agreement: str, teacher: str, draft: str) -> None:
    assert measure_loss(teacher, draft, agreement=agreement) == 1.0


def test_a_list_that_lacks_one_of_two_items_loses_a_third() -> None:
    """Precision 1, recall 1/2: F1 is 2/3."""
    loss = measure_loss('{"drugs": ["a", "b"]}', '{"drugs": ["a"]}', agreement="set_f1")
    assert loss == pytest.approx(1 / 3)


@pytest.mark.parametrize("ending", ["refused", "cut"])
def test_what_the_teacher_refused_or_cut_is_judged_as_ever(ending: str) -> None:
    assert measure_loss("a, b", "a, c", ending, agreement="set_f1") == 1.0  # type: ignore[arg-type]
