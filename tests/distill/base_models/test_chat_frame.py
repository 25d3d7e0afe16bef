from __future__ import annotations

from pathlib import Path

import pytest

from gateway.distill.base_models.chat_frame import read_chat_frame
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
    """The template's own system message is left out; a template without any is used as it is."""
    write_tokenizer(tmp_path, template)

    frame = read_chat_frame(tmp_path)

    assert (frame.head, frame.tail) == (head, tail)


def test_no_prompt_contains_the_padding(tmp_path: Path) -> None:
    """The tokenizer names the end of a turn as padding, but every prompt has one."""
    tokenizer = write_tokenizer(tmp_path)
    assert tokenizer.pad_token_id == 2
    assert read_chat_frame(tmp_path).padding == 0
