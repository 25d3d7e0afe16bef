"""What counts as the teacher's answer under each agreement that a policy may name."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
        ("text", "well ...", "...well"),
        ("number:0.01", "[100, 200, 300]", "[101, 200, 299.5]"),
        ("number:0.01", '{"says": "about 1,000 km"}', '{"says": "about 1009.5 km"}'),
        ("number", "12345678901234567890", "+12,345,678,901,234,567,890"),
        ("set_f1", "red, green; blue", "blue\nred\ngreen"),
        ("set_f1", '{"drugs": ["a", "b"]}', '{"drugs": ["b", "a", "a"]}'),
        ("set_f1", '{"drugs": []}', '{"drugs": [], "genes": []}'),
        (
            "set_f1",
            '[{"name": "a", "kind": "x"}, {"name": "b"}]',
            '[{"name": "b"}, {"kind": "x", "name": "a"}]',
        ),
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
        ("text", "(.5)", "5"),
        ("number:0.01", "[1, 200]", "[1200]"),
        ("number:0.01", "[999, 100]", "[999, 105]"),
        ("number:0.01", '{"a": 1, "b": 5}', '{"a": 5, "b": 1}'),
        ("number:0.01", '{"a": true}', '{"a": 1}'),
        ("number", "id 12345678901234567890", "id 12345678901234567891"),
        ("number", '{"id": 12345678901234567890}', '{"id": 12345678901234567891}'),
        ("text", "?", "!"),
        ("set_f1", '{"drugs": ["a"]}', '{"genes": ["a"]}'),
        ("set_f1", "red", ""),
        ("set_f1", '{"drugs": ["a"]}', '{"drugs": "a"}'),
        ("set_f1", '{"drugs": []}', ""),
        ("set_f1", "[]", "{}"),
        ("set_f1", "", ","),
    ],
)
def test_these_do_not_agree(agreement: str, teacher: str, draft: str) -> None:
    assert measure_loss(teacher, draft, agreement=agreement) == 1.0


def test_a_list_that_lacks_one_of_two_items_loses_a_third() -> None:
    """Precision 1, recall 1/2: F1 is 2/3."""
    loss = measure_loss('{"drugs": ["a", "b"]}', '{"drugs": ["a"]}', agreement="set_f1")
    assert loss == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("teacher", "draft"),
    [
        ('[{"of": "a", "is": 1}, {"of": "b", "is": 2}]', '[{"of": "a", "is": 2}, {"of": "b", "is": 1}]'),
        ('{"pairs": [["a", 1], ["b", 2]]}', '{"pairs": [["a", 2], ["b", 1]]}'),
    ],
)
def test_the_fields_of_a_record_in_a_list_belong_together(teacher: str, draft: str) -> None:
    """All names and all kinds are there, and none is of the right one."""
    assert measure_loss(teacher, draft, agreement="set_f1") == 1.0


@pytest.mark.parametrize("ending", ["refused", "cut"])
def test_what_the_teacher_refused_or_cut_is_judged_as_ever(ending: str) -> None:
    assert measure_loss("a, b", "a, c", ending, agreement="set_f1") == 1.0  # type: ignore[arg-type]


ODD_TEXTS = ["", " ", "[1e400]", "9" * 5000, f"[{'9' * 5000}]", f"[{'9' * 400}]", "[" * 900 + "]" * 900]
ODD_TEXTS += ["[" * 9000, '{"a": 1, "a": 2}', "[NaN]", '{"a": "\\ud800"}', "<tool_call>", "```json\n{}\n```"]

TEXTS = st.one_of(
    st.text(st.characters(), max_size=40),
    st.text(st.sampled_from("0123456789.,-+eE ;:{}[]\"'`\n\r\ud800\u0301\u00e9caxn"), max_size=40),
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
        max_leaves=12,
    ).map(json.dumps),
    st.sampled_from(ODD_TEXTS),
)


@pytest.mark.parametrize("agreement", ["exact", "json", "number", "number:0.01", "text", "set_f1"])
@given(teacher=TEXTS, draft=TEXTS)
@settings(max_examples=150, deadline=None)
def test_any_two_texts_have_a_loss(agreement: str, teacher: str, draft: str) -> None:
    """From 0 to 1, never above the exact one, the same in both directions, and 0 for the same text."""
    loss = measure_loss(teacher, draft, agreement=agreement)

    assert 0.0 <= loss <= measure_loss(teacher, draft)
    assert measure_loss(teacher, teacher, agreement=agreement) == 0.0
    if agreement != "number:0.01":  # its tolerance is a share of the teacher's number
        assert measure_loss(draft, teacher, agreement=agreement) == loss
