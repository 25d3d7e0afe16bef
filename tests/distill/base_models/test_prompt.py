from __future__ import annotations

from pathlib import Path

import pytest

from gateway.distill.base_models.prompt import frame_of
from tests.distill.base_models.tiny import TEMPLATE, write_tokenizer

pytestmark = [pytest.mark.learn, pytest.mark.filterwarnings("ignore")]

NO_SYSTEM = (
    "<|im_start|>{% for message in messages %}{% if message['role'] == 'system' %}"
    "{{ raise_exception('no system messages') }}{% endif %}[{{ message['role'] }}] {{ message['content'] }}\n"
    "{% endfor %}{% if add_generation_prompt %}[answer] {% endif %}"
)


@pytest.mark.parametrize(
    ("template", "head", "tail"),
    [
        (TEMPLATE, "<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n"),
        (NO_SYSTEM, "<|im_start|>[user] ", "\n[answer] "),
        (None, "", "\n"),
    ],
)
def test_a_prompt_is_one_turn_of_a_user_without_a_system_message(
    tmp_path: Path, template: str | None, head: str, tail: str
) -> None:
    """The template's own system message is left out; one which allows none is used as it is."""
    write_tokenizer(tmp_path, template)

    frame = frame_of(tmp_path)

    assert (frame.head, frame.tail) == (head, tail)


def test_the_padding_stands_in_no_prompt(tmp_path: Path) -> None:
    """Not the end of a turn, which the tokenizer names as padding: the prompt has one."""
    tokenizer = write_tokenizer(tmp_path)
    assert tokenizer.pad_token_id == 2
    assert frame_of(tmp_path).padding == 0
