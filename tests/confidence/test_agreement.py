from __future__ import annotations

import pytest

from gateway.confidence.agreement import canonical_text, measure_loss


@pytest.mark.parametrize(
    ("teacher", "draft"),
    [
        ("card_arrival", "card_arrival"),
        ("card_arrival\n", "  card_arrival"),
        ("two  words", "two\nwords"),
        ('{"a": 1, "b": [2, 3]}', '{"b":[2,3],"a":1}'),
        ('{"a": 1}', '{"a": 1.0}'),
        ('["caf\\u00e9"]', '["cafe\u0301"]'),
        ("caf\u00e9", "cafe\u0301"),
    ],
)
def test_answers_that_differ_only_in_form_agree(teacher: str, draft: str) -> None:
    assert measure_loss(teacher, draft) == 0.0


@pytest.mark.parametrize(
    ("teacher", "draft"),
    [
        ("card_arrival", "card_lost"),
        ("Yes", "yes"),
        ("yes.", "yes"),
        ("twowords", "two words"),
        ('{"a": 1}', '{"a": 2}'),
        ('{"a": 1}', '{"a": "1"}'),
        ('{"a": true}', '{"a": 1}'),
        ("[1, 2]", "[2, 1]"),
        ("", "something"),
    ],
)
def test_answers_that_differ_in_content_disagree(teacher: str, draft: str) -> None:
    assert measure_loss(teacher, draft) == 1.0


def called(name: str, arguments: str) -> str:
    return f'<tool_call>\n{{"name":"{name}","arguments":{arguments}}}\n</tool_call>'


def test_tool_calls_are_compared_by_their_meaning() -> None:
    teacher = called("find", '{"city": "Rome", "n": 1}')

    assert measure_loss(teacher, called("find", '{"n":1.0,"city":"Rome"}') + "\n") == 0.0
    assert canonical_text(canonical_text(teacher)) == canonical_text(teacher)
    assert measure_loss(teacher, called("find", '{"city":"Rome","n":2}')) == 1.0
    assert measure_loss(teacher, called("seek", '{"city":"Rome","n":1}')) == 1.0
    assert measure_loss(teacher, f"{teacher}\n{teacher}") == 1.0
    assert measure_loss(teacher, '{"city": "Rome", "n": 1}') == 1.0


def test_the_order_of_calls_matters() -> None:
    """The app may execute them one after the other."""
    one, other = called("find", "{}"), called("ping", "{}")
    assert measure_loss(f"{one}\n{other}", f"{other}\n{one}") == 1.0


def test_a_call_nested_too_deeply_is_compared_as_text() -> None:
    for depth in range(100, 1000, 50):
        deep = called("f", '{"a":' + "[" * depth + "]" * depth + "}")
        assert measure_loss(deep, deep.replace("\n", " ")) == 0.0


@pytest.mark.parametrize(
    "text", ["{not json", "[1, 2", '{"a": 1} trailing', "[" * 50_000, "{\ud800", '["\ud800"]', "[1e999]"]
)
def test_text_that_only_looks_like_json_is_compared_as_text(text: str) -> None:
    assert measure_loss(text, text) == 0.0
    assert canonical_text(text) == " ".join(text.split())


def test_a_canonical_form_is_its_own_canonical_form() -> None:
    for text in ('{"b": 1.0, "a": "  x "}', " a  b ", "[1,  2]", "caf\u0065\u0301"):
        assert canonical_text(canonical_text(text)) == canonical_text(text)
