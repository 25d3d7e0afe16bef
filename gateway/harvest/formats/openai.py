"""OpenAI's chat fine-tuning JSONL: conversation, tools, and the teacher's answer at the end."""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO

from gateway.harvest.base import Row
from gateway.harvest.examples import Example, examples_of, render_line

SUFFIX = ".jsonl"
LEFT_OUT = "that are no conversation of messages with an answer"


def write(rows: Iterable[Row], stream: IO[bytes], *, with_held_out: bool = False) -> int:
    """Write one JSON object a line: `{"messages": [...], "tools": [...]}`, a line per choice.

    A line has no other field than the API reference names (FineTuneChatRequestInput): OpenAI refuses
    the whole file for an extra one. A `response_format` belongs into the requests to the new model.
    """
    written = 0
    for row in rows:
        if row.is_held_out and not with_held_out:
            continue
        lines = [_line(example) for example in examples_of(row)]
        stream.write(b"".join(lines))
        written += bool(lines)
    return written


def _line(example: Example) -> bytes:
    fields: dict[str, object] = {"messages": [*example.prompt, example.answer]}
    if example.tools:
        fields["tools"] = example.tools
        if not example.may_call_in_parallel:
            fields["parallel_tool_calls"] = False
    return render_line(fields)
