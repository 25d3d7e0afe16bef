from __future__ import annotations

import pytest

from gateway.confidence.agreement import canonical, loss


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
def test_answers_which_differ_only_in_form_agree(teacher: str, draft: str) -> None:
    assert loss(teacher, draft) == 0.0


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
def test_answers_which_differ_in_content_disagree(teacher: str, draft: str) -> None:
    assert loss(teacher, draft) == 1.0


@pytest.mark.parametrize(
    "text", ["{not json", "[1, 2", '{"a": 1} trailing', "[" * 50_000, "{\ud800", '["\ud800"]', "[1e999]"]
)
def test_text_which_only_looks_like_json_is_compared_as_text(text: str) -> None:
    assert loss(text, text) == 0.0
    assert canonical(text) == " ".join(text.split())


def test_a_canonical_form_is_its_own_canonical_form() -> None:
    for text in ('{"b": 1.0, "a": "  x "}', " a  b ", "[1,  2]", "caf\u0065\u0301"):
        assert canonical(canonical(text)) == canonical(text)
