"""The input of a Responses request as the messages of a conversation."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.core import Message
from gateway.errors import UnreadableBodyError
from gateway.wire.chat.fields import ContentPart, read_content
from gateway.wire.responses.fields import InputItem, ResponsesFields
from gateway.wire.template import ROLES

_TEXTS = frozenset({"input_text", "output_text"})
_ITEMS = {
    "function_call": "tool messages",
    "function_call_output": "tool messages",
    "reasoning": "reasoning item",
    "item_reference": "item reference",
}
_PARTS = {"input_image": "image part", "input_audio": "audio part", "input_file": "file part"}


class _UnsupportedItemError(Exception):
    """An item that is not text; its message is the reason to count."""


def read_conversation(fields: ResponsesFields) -> tuple[tuple[Message, ...], str]:
    """Return the messages, `instructions` first, and why these are not all; empty when they are."""
    messages = []
    try:
        for message in _iter_messages(fields):
            messages.append(message)
    except _UnsupportedItemError as exc:
        return tuple(messages), str(exc)
    has_question = any(message.role == "user" and message.text for message in messages)
    return tuple(messages), "" if has_question else "no user text"


def _iter_messages(fields: ResponsesFields) -> Iterator[Message]:
    if fields.instructions:
        yield Message("system", fields.instructions)
    if isinstance(fields.input, str):
        yield Message("user", fields.input)
    else:
        yield from map(_read_item, fields.input or ())


def _read_item(item: InputItem) -> Message:
    if item.type not in (None, "message"):
        raise _UnsupportedItemError(_ITEMS.get(item.type, "unknown item"))
    if item.role not in ROLES:
        raise _UnsupportedItemError("unknown role" if item.role else "unknown item")
    try:
        content = read_content(item.content, "content")
    except UnreadableBodyError as exc:
        # OpenAI refuses it; the words of the refusal are the teacher's.
        raise _UnsupportedItemError("unknown part") from exc
    return Message(item.role, _join_parts(content))


def _join_parts(content: str | list[ContentPart] | None) -> str:
    if not isinstance(content, list):
        return content or ""
    for part in content:
        if part.type not in _TEXTS or part.text is None:
            raise _UnsupportedItemError(_PARTS.get(part.type, "unknown part"))
    return "\n".join(part.text or "" for part in content)
