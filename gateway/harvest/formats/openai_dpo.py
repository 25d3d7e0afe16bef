"""OpenAI's preference fine-tuning JSONL: the teacher's answer, preferred to the specialist's draft."""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO

from gateway.harvest.base import Row
from gateway.harvest.examples import Example, preferred_pair, render_line
from gateway.wire.replies import Reply

SUFFIX = ".jsonl"
LEFT_OUT = "without a draft that differs from the answer"


def write(rows: Iterable[Row], stream: IO[bytes], *, with_held_out: bool = False) -> int:
    """Write a line for each escalation with a draft that differs (FineTunePreferenceRequestInput).

    Never one of evidence, asked for or not.
    """
    written = 0
    for row in rows:
        if pair := preferred_pair(row):
            stream.write(_line(*pair))
            written += 1
    return written


def _line(chosen: Example, rejected: Reply) -> bytes:
    given: dict[str, object] = {"messages": chosen.prompt}
    if chosen.tools:
        given["tools"] = chosen.tools
        if not chosen.may_call_in_parallel:
            given["parallel_tool_calls"] = False
    return render_line(
        {"input": given, "preferred_output": [chosen.answer], "non_preferred_output": [rejected]}
    )
