"""OpenAI's chat fine-tuning JSONL: the conversation with the teacher's answer at its end."""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO

import msgspec

from gateway.harvest.base import Row


def write(rows: Iterable[Row], stream: IO[bytes], *, with_held_out: bool = False) -> int:
    """Write one JSON object a line: `{"messages": [..., {"role": "assistant", "content": ...}]}`.

    The client's messages stay as they were, unknown fields too: a trainer may know them.
    """
    written = 0
    for row in rows:
        if row.is_held_out and not with_held_out:
            continue
        stream.write(msgspec.json.encode({"messages": _conversation(row)}) + b"\n")
        written += 1
    return written


def _conversation(row: Row) -> list[msgspec.Raw]:
    answer = msgspec.json.encode({"role": "assistant", "content": row.answer})
    messages = msgspec.json.decode(row.messages, type=list[msgspec.Raw])
    return [*(msgspec.Raw(_one_line(bytes(message))) for message in messages), msgspec.Raw(answer)]


def _one_line(json: bytes) -> bytes:
    """Return the same JSON on one line; its strings cannot hold a raw line break."""
    return json.replace(b"\r", b"").replace(b"\n", b"")
