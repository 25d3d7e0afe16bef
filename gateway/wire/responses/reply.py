"""The reply in an answer of the Responses API, as the chat API's message."""

from __future__ import annotations

import msgspec

from gateway.wire.replies import Reply, make_reply
from gateway.wire.sse import iter_events


class _Part(msgspec.Struct):
    type: str = ""
    text: str | None = None


class _Item(msgspec.Struct):
    type: str = ""
    content: list[_Part] | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None


class _Response(msgspec.Struct):
    status: str | None = None
    output: list[_Item] | None = None


class _Event(msgspec.Struct):
    type: str = ""
    response: msgspec.Raw = msgspec.Raw(b"{}")


_events = msgspec.json.Decoder(_Event)
_responses = msgspec.json.Decoder(_Response)


def read_replies(content: bytes, is_event_stream: bool, seed: str) -> list[Reply]:
    """Return the one message that a completed response says; none if a chat could not say the same.

    As `wire.chat.reply.read_replies`. Reasoning is not part of it; a search of the teacher's own is
    nothing that could be trained on.
    """
    try:
        response = _responses.decode(_last_response(content) if is_event_stream else content)
    except (ValueError, RecursionError):
        return []
    items = [item for item in response.output or () if item.type != "reasoning"]
    if response.status != "completed" or any(not _is_plain(item) for item in items):
        return []
    texts = [part.text or "" for item in items for part in item.content or ()]
    calls = [
        (item.call_id or "", item.name or "", item.arguments or "")
        for item in items
        if item.type == "function_call"
    ]
    reply = make_reply("".join(texts), calls, seed)
    return [reply] if reply else []


def _is_plain(item: _Item) -> bool:
    if item.type == "message":
        return all(part.type == "output_text" for part in item.content or ())
    return item.type == "function_call"


def _last_response(content: bytes) -> bytes:
    for event in reversed(list(iter_events(content))):
        found = _events.decode(event)
        if found.type == "response.completed":
            return bytes(found.response)
    return b"{}"
