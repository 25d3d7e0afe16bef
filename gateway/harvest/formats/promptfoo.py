"""Test cases of promptfoo as JSONL: each conversation, with the teacher's answer as what is expected."""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO

import msgspec

from gateway.harvest.base import Row
from gateway.harvest.examples import Example, examples_of, render_line

SUFFIX = ".jsonl"
LEFT_OUT = "that are no conversation of messages with one answer"

_encode = msgspec.json.Encoder().encode
# promptfoo gives the calls of a chat as an array. Their ids differ from answer to answer, and the order of
# arguments means nothing.
_SAME_CALLS = """{
  const sort = (_, v) => v && typeof v === 'object' && !Array.isArray(v)
    ? Object.fromEntries(Object.entries(v).sort()) : v;
  const calls = typeof output === 'string' ? JSON.parse(output) : output;
  const made = calls.map((call) => [call.function.name, JSON.parse(call.function.arguments)]);
  return JSON.stringify(made, sort) === JSON.stringify(%s, sort);
}"""


def write(rows: Iterable[Row], stream: IO[bytes], *, with_held_out: bool = False) -> int:
    """Write a test case a line: `tests: file://cases.jsonl` reads them, with the prompt `{{messages}}`.

    `vars` has the messages as JSON, which promptfoo takes for a chat, and the text that varies. Of
    several choices the first is what is expected.
    """
    written = 0
    for row in rows:
        example = next(examples_of(row), None)
        if example is None or (row.is_held_out and not with_held_out):
            continue
        stream.write(_line(row, example))
        written += 1
    return written


def _line(row: Row, example: Example) -> bytes:
    options: dict[str, object] = {}
    if example.tools:
        options["tools"] = example.tools
    if row.response_format:
        options["response_format"] = msgspec.json.decode(row.response_format)
    return render_line(
        {
            "description": f"{row.task} {row.request_id}",
            "vars": {"messages": _encode(example.prompt).decode(), "text": row.text},
            "assert": [_expectation(row, example)],
            **({"options": {"config": options}} if options else {}),
            "metadata": {"task": row.task, "model": row.model},
        }
    )


def _expectation(row: Row, example: Example) -> dict[str, object]:
    if calls := example.answer.tool_calls:
        expected = [[call.function.name, msgspec.json.decode(call.function.arguments)] for call in calls]
        return {"type": "javascript", "value": _SAME_CALLS % _encode(expected).decode()}
    content = example.answer.content or ""
    # An object is compared as JSON: neither white space nor the order of keys matters.
    return {"type": "equals", "value": msgspec.json.decode(content) if _is_json(row, content) else content}


def _is_json(row: Row, content: str) -> bool:
    if not row.response_format:
        return False
    try:
        return isinstance(msgspec.json.decode(content), dict)
    except (msgspec.DecodeError, RecursionError):
        return False
