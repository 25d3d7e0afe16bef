"""The replies in an answer of the chat API: whole messages with their calls' ids, one per choice."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from gateway.wire.replies import Reply, make_reply
from gateway.wire.sse import DONE, iter_events

_WHOLE = frozenset({"stop", "tool_calls"})


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _CallPart(msgspec.Struct):
    """A tool call, or a stream's piece of one."""

    index: int | None = None
    id: str | None = None
    type: str | None = None
    function: _Function | None = None


class _MessagePart(msgspec.Struct):
    """A message, or a stream's delta."""

    content: str | None = None
    refusal: str | None = None
    tool_calls: list[_CallPart] | None = None
    function_call: object = None
    audio: object = None


class _Choice(msgspec.Struct):
    index: int = 0
    message: _MessagePart | None = None
    delta: _MessagePart | None = None
    finish_reason: str | None = None


class _Part(msgspec.Struct):
    """A whole completion, or one chunk of it."""

    choices: list[_Choice] | None = None


_parts = msgspec.json.Decoder(_Part)


def read_replies(content: bytes, is_event_stream: bool, seed: str) -> list[Reply]:
    """Return the message of each choice that is whole and could be trained on, in the order of choices.

    Refusals, answers that were cut or filtered, and calls of anything but functions are left out.
    `content` is without its content-encoding. Never raises.
    """
    events = [event for event in iter_events(content) if event != DONE] if is_event_stream else [content]
    by_index: dict[int, list[_Choice]] = {}
    try:
        for event in events:
            for choice in _parts.decode(event).choices or ():
                by_index.setdefault(choice.index, []).append(choice)
    except (ValueError, RecursionError):
        return []
    replies = [_join_choice(by_index[index], f"{seed} {index}") for index in sorted(by_index)]
    return [reply for reply in replies if reply is not None]


def _join_choice(parts: Sequence[_Choice], seed: str) -> Reply | None:
    messages = [message for part in parts if (message := part.message or part.delta)]
    ends = [part.finish_reason for part in parts if part.finish_reason]
    if not ends or ends[-1] not in _WHOLE:
        return None
    if any(message.refusal or message.function_call or message.audio for message in messages):
        return None
    pieces = [call for message in messages for call in message.tool_calls or ()]
    calls = _join_calls(pieces, is_whole=any(part.message for part in parts))
    content = "".join(message.content or "" for message in messages)
    return None if calls is None else make_reply(content, calls, seed)


def _join_calls(parts: Sequence[_CallPart], *, is_whole: bool) -> list[tuple[str, str, str]] | None:
    """Return id, name and arguments of each call; None if one of them calls no function."""
    calls: dict[int, tuple[str, str, str]] = {}
    for place, part in enumerate(parts):
        if part.type not in (None, "function"):
            return None
        # Whole calls have no index: each is its own. In a stream a piece without one is of the first.
        index = place if is_whole else part.index or 0
        call_id, name, arguments = calls.get(index, ("", "", ""))
        function = part.function or _Function()
        if name and function.name:
            # A name comes once and whole: two of them are two calls with the same number.
            return None
        calls[index] = (
            call_id or part.id or "",
            name or function.name or "",
            arguments + (function.arguments or ""),
        )
    return [calls[index] for index in sorted(calls)]
