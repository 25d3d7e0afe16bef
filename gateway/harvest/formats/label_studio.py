"""Tasks of Label Studio: the conversation to look at, the teacher's answer as prediction."""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO, Any

import msgspec

from gateway.harvest.base import Row
from gateway.harvest.examples import list_replies

SUFFIX = ".json"
LEFT_OUT = "without an answer that can be shown"
LABELING_CONFIG = """<View>
  <Paragraphs name="conversation" value="$conversation" layout="dialogue" nameKey="role" textKey="text"/>
  <TextArea name="answer" toName="conversation" editable="true" maxSubmissions="1" required="true"/>
</View>
"""
"""The labeling interface that the tasks are made for."""

_encode = msgspec.json.Encoder().encode
_messages = msgspec.json.Decoder(list[dict[str, Any]])


def write(rows: Iterable[Row], stream: IO[bytes], *, with_held_out: bool = False) -> int:
    """Write a JSON array of tasks for `LABELING_CONFIG`; of several choices the first is the prediction."""
    written = 0
    for row in rows:
        replies = list_replies(row)
        if not replies or (row.is_held_out and not with_held_out):
            continue
        answer = replies[0].content or _encode(replies[0].tool_calls).decode()
        stream.write(b",\n" if written else b"[\n")
        stream.write(_encode(_task(row, answer)))
        written += 1
    stream.write(b"\n]\n" if written else b"[]\n")
    return written


def _task(row: Row, answer: str) -> dict[str, object]:
    prediction = {
        "model_version": row.model,
        "result": [
            {
                "id": row.request_id,
                "from_name": "answer",
                "to_name": "conversation",
                "type": "textarea",
                "value": {"text": [answer]},
            }
        ],
    }
    data = {
        "conversation": [
            {"role": message.get("role"), "text": _text_of(message)}
            for message in _messages.decode(row.messages)
        ],
        "text": row.text,
        "task": row.task,
        "request_id": row.request_id,
    }
    return {"data": data, "predictions": [prediction]}


def _text_of(message: dict[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, list):
        return "\n".join(part.get("text") or f"[{part.get('type')}]" for part in content)
    return content or _encode(message.get("tool_calls") or "").decode()
