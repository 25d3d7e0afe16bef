"""The prompt around the input of a student, taken from the model's chat template."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

_MARK = "\u2063input\u2063"


class ChatFrame(msgspec.Struct, frozen=True):
    """The prompt is head + input + tail; `padding` is a token id that no prompt contains."""

    head: str
    tail: str
    padding: int


def read_chat_frame(folder: Path) -> ChatFrame:
    """Return the frame of the model with its tokenizer in `folder`.

    It is one user turn and the opening of the answer, without a system message: a student need not
    be told its task. For a model without a template, a line break ends the input.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    head, tail = ("", "\n") if tokenizer.chat_template is None else _render_turn(tokenizer)
    return ChatFrame(head, tail, _find_padding(tokenizer, head + tail))


def _render_turn(tokenizer: Any) -> tuple[str, str]:
    from jinja2 import TemplateError

    def render(*messages: tuple[str, str], opening: bool = False) -> str:
        turns = [{"role": role, "content": content} for role, content in messages]
        return str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=opening))

    system, user = ("system", ""), ("user", _MARK)
    try:
        # Without a system message many templates insert their own; an empty one prevents that.
        before, whole = render(system), render(system, user, opening=True)
    except TemplateError:
        before, whole = "", ""
    if not whole.startswith(before or " "):
        before, whole = "", render(user, opening=True)
    head, _, tail = whole.removeprefix(before).partition(_MARK)
    return _add_start(tokenizer, head, has_start=whole.startswith(tokenizer.bos_token or " ")), tail


def _add_start(tokenizer: Any, head: str, *, has_start: bool) -> str:
    """Return `head` with the start token if the template has it and encoding does not add it."""
    start = tokenizer.bos_token or ""
    adds_it = tokenizer("").input_ids[:1] == [tokenizer.bos_token_id]
    return (start if has_start and not adds_it else "") + head.removeprefix(start)


def _find_padding(tokenizer: Any, frame: str) -> int:
    used = {tokenizer.eos_token_id, *tokenizer(frame).input_ids}
    special = (tokenizer.pad_token_id, tokenizer.unk_token_id, *sorted(tokenizer.all_special_ids), 0)
    return next(int(token) for token in special if token is not None and token not in used)
