"""The input of a Responses request as the messages of a conversation."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from gateway.core import Message, Request
from gateway.wire.chat.fields import Part
from gateway.wire.responses.fields import Item, Peek
from gateway.wire.template import ROLES

_TEXTS = frozenset({"input_text", "output_text"})
_ITEMS = {
    "function_call": "tool messages",
    "function_call_output": "tool messages",
    "reasoning": "reasoning item",
    "item_reference": "item reference",
}
_PARTS = {"input_image": "image part", "input_audio": "audio part", "input_file": "file part"}

_contents = msgspec.json.Decoder(str | list[Part] | None)


class _BeyondError(Exception):
    """An item which is no text."""


def read_conversation(peeked: Peek) -> tuple[tuple[Message, ...], str]:
    """Return the messages, `instructions` first, and why these are not all; empty when they are."""
    messages = []
    try:
        for message in _messages(peeked):
            messages.append(message)
    except _BeyondError as reason:
        return tuple(messages), str(reason)
    has_question = any(message.role == "user" and message.text for message in messages)
    return tuple(messages), "" if has_question else "no user text"


def response_messages(request: Request) -> bytes:
    """Return the conversation as the JSON array of messages which a chat request would hold."""
    return msgspec.json.encode(
        [{"role": message.role, "content": message.text} for message in request.messages]
    )


def _messages(peeked: Peek) -> Iterator[Message]:
    if peeked.instructions:
        yield Message("system", peeked.instructions)
    if isinstance(peeked.input, str):
        yield Message("user", peeked.input)
    else:
        yield from map(_message, peeked.input or ())


def _message(item: Item) -> Message:
    if item.type not in (None, "message"):
        raise _BeyondError(_ITEMS.get(item.type, "unknown item"))
    if item.role not in ROLES:
        raise _BeyondError("unknown role" if item.role else "unknown item")
    try:
        content = _contents.decode(item.content)
    except msgspec.ValidationError as fault:
        # The teacher has words for it.
        raise _BeyondError("unknown part") from fault
    return Message(item.role, _text(content))


def _text(content: str | list[Part] | None) -> str:
    if not isinstance(content, list):
        return content or ""
    for part in content:
        if part.type not in _TEXTS or part.text is None:
            raise _BeyondError(_PARTS.get(part.type, "unknown part"))
    return "\n".join(part.text or "" for part in content)
