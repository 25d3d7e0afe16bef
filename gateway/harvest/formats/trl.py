"""TRL's prompt-completion JSONL for supervised fine-tuning: the loss falls on the teacher's answer alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO

from gateway.harvest.base import Row
from gateway.harvest.chat_template import decode_tools, template_prompt, template_reply
from gateway.harvest.examples import examples_of, render_line

SUFFIX = ".jsonl"
LEFT_OUT = "that are no conversation of messages with an answer"


def write(rows: Iterable[Row], stream: IO[bytes], *, with_held_out: bool = False) -> int:
    """Write `{"prompt": [...], "completion": [...], "tools": [...]}` a line, a line per choice.

    Conversations with images are left out. Arguments are objects, as chat templates want them.
    """
    written = 0
    for row in rows:
        if row.is_held_out and not with_held_out:
            continue
        lines = []
        for example in examples_of(row):
            if (prompt := template_prompt(example)) is None:
                break
            fields: dict[str, object] = {"prompt": prompt, "completion": [template_reply(example.answer)]}
            lines.append(render_line(fields | _tools_of(decode_tools(example.tools))))
        stream.write(b"".join(lines))
        written += bool(lines)
    return written


def _tools_of(tools: list[object]) -> dict[str, object]:
    return {"tools": tools} if tools else {}
