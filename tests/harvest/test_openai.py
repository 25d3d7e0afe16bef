"""The fine-tuning format of OpenAI, line by line."""

from __future__ import annotations

import io
import json
from collections.abc import Callable

from gateway.harvest.base import Row
from gateway.harvest.formats import openai


def lines(*rows: Row) -> list[bytes]:
    stream = io.BytesIO()
    openai.write(rows, stream)
    return stream.getvalue().splitlines()


def test_the_answer_ends_the_conversation(row: Callable[..., Row]) -> None:
    (line,) = lines(row(answer='say "hi"\n'))

    assert json.loads(line) == {
        "messages": [
            {"role": "user", "content": "where is my card?"},
            {"role": "assistant", "content": 'say "hi"\n'},
        ]
    }


def test_unknown_fields_and_number_forms_stay(row: Callable[..., Row]) -> None:
    (line,) = lines(row(messages=b'[{"role":"user","content":"hi","weight":1.0e0}]'))

    assert b'{"role":"user","content":"hi","weight":1.0e0}' in line


def test_a_pretty_printed_conversation_stays_on_one_line(row: Callable[..., Row]) -> None:
    """JSONL has one object a line, however the client formatted its request."""
    (line,) = lines(row(messages=b'[\r\n {\n  "role": "user",\n  "content": "a\\nb"\n }\r\n]'))

    assert json.loads(line)["messages"][0] == {"role": "user", "content": "a\nb"}
