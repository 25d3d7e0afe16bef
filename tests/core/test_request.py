"""What a request says of itself."""

from __future__ import annotations

import pytest

from gateway.core import Message
from tests.support.builders import request


@pytest.mark.parametrize(
    ("roles", "form"),
    [
        (("user",), "single/short"),
        (("system", "user"), "single/short"),
        (("developer", "user"), "single/short"),
        (("system", "user", "assistant", "user"), "multi/short"),
        (("user", "system"), "single-instructed/short"),
        (("user", "assistant", "user", "developer"), "multi-instructed/short"),
        (("system",), "single-instructed/short"),
    ],
)
def test_instructions_that_have_the_last_word_are_another_form(roles: tuple[str, ...], form: str) -> None:
    """A certificate earned before a question says nothing of the same words after it."""
    messages = tuple(Message(role, "sort this") for role in roles)

    assert request(messages=messages, text="where is my card?").form == form
