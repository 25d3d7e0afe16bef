"""Which recipes can learn which answers; a general one, that can learn all, is asked last."""

from __future__ import annotations

import json

import pytest

from gateway.config import plugins
from gateway.distill.base import TrainingSet

RECIPES = {
    name: plugins.load_plugin("gateway.distill.recipes", name) for name in ("head", "span", "lora_sft")
}


def able(pairs: list[tuple[str, str]]) -> set[str]:
    """Return the names of the recipes, but for general ones, that can learn pairs of text and answer."""
    rows = TrainingSet([text for text, _ in pairs], [answer for _, answer in pairs])
    recipes = [module.create(module.Config()) for module in RECIPES.values()]
    assert all(recipe.can_learn(rows) for recipe in recipes if recipe.is_general)
    return {recipe.name for recipe in recipes if recipe.can_learn(rows) and not recipe.is_general}


def test_a_small_set_of_answers_is_labels() -> None:
    assert able([(f"t{n}", f"label {n % 5}") for n in range(100)]) == {"head", "span"}


@pytest.mark.parametrize("distinct", [100, 40, 26])
def test_answers_that_hardly_repeat_are_not_labels(distinct: int) -> None:
    assert able([(f"t{n}", f"answer {n % distinct}") for n in range(100)]) == set()


def test_a_few_labels_among_free_text_are_not_labels() -> None:
    rows = [(f"t{n}", "yes" if n < 80 else f"essay {n}") for n in range(100)]
    assert able(rows) == {"head", "span"}
    assert able(rows[60:]) == set()


def test_json_with_values_from_the_input_is_for_the_tagger() -> None:
    rows = [(f"call number {n}", json.dumps({"kind": "call", "number": n})) for n in range(100)]
    assert able(rows) == {"span"}


def test_json_with_values_of_its_own_is_for_a_general_recipe() -> None:
    rows = [(f"call number {n}", json.dumps({"summary": f"essay {n * 7919}"})) for n in range(100)]
    assert able(rows) == set()


def test_tool_calls_with_arguments_from_the_input_are_for_the_tagger() -> None:
    rows = [
        (f"call {n}", f'<tool_call>\n{{"name":"call","arguments":{{"number":{n}}}}}\n</tool_call>')
        for n in range(100)
    ]
    assert able(rows) == {"span"}
