"""TRL's preference JSONL: the teacher's answer chosen, the specialist's draft rejected."""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO

from gateway.harvest.base import Row
from gateway.harvest.chat_template import decode_tools, template_prompt, template_reply
from gateway.harvest.examples import preferred_pair, render_line

SUFFIX = ".jsonl"
LEFT_OUT = "without a draft that differs from the answer"


def write(rows: Iterable[Row], stream: IO[bytes], *, with_held_out: bool = False) -> int:
    """Write `{"prompt": [...], "chosen": [...], "rejected": [...]}` for each draft that differs.

    Never one of evidence, asked for or not. Conversations with images are left out.
    """
    written = 0
    for row in rows:
        pair = preferred_pair(row)
        prompt = template_prompt(pair[0]) if pair else None
        if pair is None or prompt is None:
            continue
        chosen, rejected = pair
        fields: dict[str, object] = {
            "prompt": prompt,
            "chosen": [template_reply(chosen.answer)],
            "rejected": [template_reply(rejected)],
        }
        if chosen.tools:
            fields["tools"] = decode_tools(chosen.tools)
        stream.write(render_line(fields))
        written += 1
    return written
