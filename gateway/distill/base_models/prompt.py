"""What stands before and after the input of a student, taken from the model's chat template."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

_MARK = "\u2063input\u2063"


class Frame(msgspec.Struct, frozen=True):
    """The prompt is head + input + tail; `padding` is a token id which stands in no prompt."""

    head: str
    tail: str
    padding: int


def frame_of(folder: Path) -> Frame:
    """Return the frame of the model whose tokenizer lies in `folder`.

    It is one turn of a user and the opening of the answer, without any system message: a
    student needs no telling what its task is. A model without a template gets a line of its own.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    head, tail = ("", "\n") if tokenizer.chat_template is None else _turn(tokenizer)
    return Frame(head, tail, _padding(tokenizer, head + tail))


def _turn(tokenizer: Any) -> tuple[str, str]:
    from jinja2 import TemplateError

    def render(*messages: tuple[str, str], opening: bool = False) -> str:
        turns = [{"role": role, "content": content} for role, content in messages]
        return str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=opening))

    system, user = ("system", ""), ("user", _MARK)
    try:
        # Without a system message many templates put in one of their own; an empty one stops that.
        before, whole = render(system), render(system, user, opening=True)
    except TemplateError:
        before, whole = "", ""
    if not whole.startswith(before or " "):
        before, whole = "", render(user, opening=True)
    head, _, tail = whole.removeprefix(before).partition(_MARK)
    return _with_start(tokenizer, head, has_start=whole.startswith(tokenizer.bos_token or " ")), tail


def _with_start(tokenizer: Any, head: str, *, has_start: bool) -> str:
    """Return `head` with the start token if the template has it and encoding does not add it."""
    start = tokenizer.bos_token or ""
    adds_it = tokenizer("").input_ids[:1] == [tokenizer.bos_token_id]
    return (start if has_start and not adds_it else "") + head.removeprefix(start)


def _padding(tokenizer: Any, frame: str) -> int:
    used = {tokenizer.eos_token_id, *tokenizer(frame).input_ids}
    special = (tokenizer.pad_token_id, tokenizer.unk_token_id, *sorted(tokenizer.all_special_ids), 0)
    return next(int(token) for token in special if token is not None and token not in used)
