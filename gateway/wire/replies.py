"""Answers of the teacher as the assistant's messages of a conversation, ready to be trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from gateway.wire.chunks import derive_item_id
from gateway.wire.tool_calls import ToolCall, make_tool_call, parse_tool_calls

LONGEST_CALL_ID = 40
"""OpenAI takes no longer one."""


class FunctionText(msgspec.Struct, frozen=True):
    """The name of a function and its arguments: JSON inside a string, as OpenAI writes it."""

    name: str
    arguments: str


class ReplyCall(msgspec.Struct, frozen=True, kw_only=True):
    """One tool call of a reply."""

    id: str
    type: str = "function"
    function: FunctionText


_calls = msgspec.json.Decoder(list[ReplyCall])


class Reply(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An assistant's message: a text, tool calls, or words beside tool calls."""

    role: Literal["assistant"]
    content: str | None = None
    tool_calls: tuple[ReplyCall, ...] = ()


def make_reply(content: str | None, calls: Sequence[tuple[str, str, str]], seed: str) -> Reply | None:
    """Return the message of `content` and `calls` (id, name, arguments); None if it would not be valid.

    Calls without an id of their own get one that follows from `seed`.
    """
    if not calls:
        return Reply(role="assistant", content=content) if content else None
    made: list[ReplyCall] = []
    for place, (call_id, name, arguments) in enumerate(calls):
        if make_tool_call(name, arguments or "{}") is None:
            return None
        is_usable = 0 < len(call_id) <= LONGEST_CALL_ID and call_id not in {call.id for call in made}
        own_id = call_id if is_usable else derive_call_id(seed, place)
        made.append(ReplyCall(id=own_id, function=FunctionText(name, arguments or "{}")))
    return Reply(role="assistant", content=content or None, tool_calls=tuple(made))


def parse_reply_calls(text: str) -> list[ReplyCall]:
    """Return the calls that `text` holds as a message's `tool_calls`; none if it is anything else."""
    try:
        return _calls.decode(text)
    except (msgspec.MsgspecError, UnicodeEncodeError, RecursionError):
        return []


def reply_of_text(text: str, seed: str) -> Reply | None:
    """Return the message that a text says, tool calls in the form of `wire.tool_calls` among them."""
    calls: tuple[ToolCall, ...] | None = parse_tool_calls(text)
    if not calls:
        return make_reply(text, (), seed)
    return make_reply(None, [("", call.name, call.arguments_text) for call in calls], seed)


def derive_call_id(seed: str, place: int) -> str:
    """Return the id of the call at `place`, the same each time."""
    return f"call_{derive_item_id(seed, place)}"
