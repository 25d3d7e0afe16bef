from __future__ import annotations

import json

import pytest

from gateway.distill.answer_kind import answer_kind
from tests.distill.conftest import harvested


def test_a_small_set_of_answers_is_labels() -> None:
    assert answer_kind([harvested(f"t{n}", f"label {n % 5}") for n in range(100)]) == "label"


@pytest.mark.parametrize("distinct", [100, 40, 26])
def test_answers_which_hardly_repeat_are_no_labels(distinct: int) -> None:
    assert answer_kind([harvested(f"t{n}", f"answer {n % distinct}") for n in range(100)]) == "other"


def test_a_few_labels_among_free_text_are_no_labels() -> None:
    rows = [harvested(f"t{n}", "yes" if n < 80 else f"essay {n}") for n in range(100)]
    assert answer_kind(rows) == "label"
    assert answer_kind(rows[60:]) == "other"


def test_json_whose_values_stand_in_the_input_is_extractive() -> None:
    rows = [harvested(f"call number {n}", json.dumps({"kind": "call", "number": n})) for n in range(100)]
    assert answer_kind(rows) == "extractive"


def test_json_with_values_of_its_own_is_other() -> None:
    rows = [harvested(f"call number {n}", json.dumps({"summary": f"essay {n * 7919}"})) for n in range(100)]
    assert answer_kind(rows) == "other"


def test_tool_calls_whose_arguments_stand_in_the_input_are_extractive() -> None:
    rows = [
        harvested(f"call {n}", f'<tool_call>\n{{"name":"call","arguments":{{"number":{n}}}}}\n</tool_call>')
        for n in range(100)
    ]
    assert answer_kind(rows) == "extractive"
