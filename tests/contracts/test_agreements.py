"""The contract of every agreement: a loss from 0 to 1, and none where the exact one finds none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.confidence.agreement import AGREEMENTS, Measure, canonical_text, measure_loss
from gateway.config import plugins
from gateway.core import EXACT
from gateway.errors import ConfigError

NAMES = plugins.list_plugins(AGREEMENTS)

CALL = '<tool_call>\n{"name":"find","arguments":{"n":1}}\n</tool_call>'

answers = (
    st.text() | st.text('[]{}":, 1.5-aA\n`') | st.sampled_from(['{"a": [1, 2.0]}', "[", CALL, "-0", "1e999"])
)


def create(name: str) -> Measure:
    measure: Measure = plugins.load_plugin(AGREEMENTS, name).create("")
    return measure


@pytest.mark.parametrize("name", NAMES)
@given(teacher=answers, draft=answers)
def test_a_loss_is_from_0_to_1_whatever_the_answers_are(name: str, teacher: str, draft: str) -> None:
    loss = create(name)(teacher, draft)

    assert 0.0 <= loss <= 1.0
    assert plugins.load_plugin(AGREEMENTS, name).IS_GRADED or loss in (0.0, 1.0)


@pytest.mark.parametrize("name", NAMES)
@given(teacher=answers, draft=answers)
def test_it_is_never_stricter_than_the_exact_one(name: str, teacher: str, draft: str) -> None:
    """So an exact certificate meets what a policy with any agreement asks for."""
    assert measure_loss(teacher, draft, agreement=name) <= measure_loss(teacher, draft)
    assert measure_loss(teacher, canonical_text(teacher), agreement=name) == 0.0


@pytest.mark.parametrize("name", NAMES)
def test_tool_calls_have_to_agree_exactly(name: str) -> None:
    assert measure_loss(CALL, CALL.replace("1", "2"), agreement=name) == 1.0


@pytest.mark.parametrize("name", NAMES)
def test_an_option_that_it_does_not_know_is_refused(name: str) -> None:
    with pytest.raises(ConfigError):
        plugins.load_plugin(AGREEMENTS, name).create("wrong")


def test_the_exact_one_is_a_file_too() -> None:
    assert EXACT in NAMES
