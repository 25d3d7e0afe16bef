"""Rows as the examples of a trainer: a valid conversation, and what the teacher answered to it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from gateway.harvest.base import Row
from gateway.wire.replies import Reply, reply_of_text
from gateway.wire.tool_calls import parse_tool_calls

_NOT_SENT = frozenset(
    {
        "annotations", "audio", "parsed", "provider_specific_fields", "reasoning", "reasoning_content",
        "reasoning_details", "thinking_blocks",
    }
)  # fmt: skip
"""Fields of answers that apps send back with the history; trainers refuse them or make nothing of them."""
_PARTS = {"text": str, "image_url": dict, "refusal": str}
"""Parts of a message that fine-tuning takes, each with what it holds: no recordings and no files."""

_encode = msgspec.json.Encoder().encode
_replies = msgspec.json.Decoder(list[Reply])
_messages = msgspec.json.Decoder(list[msgspec.Raw])
_fields = msgspec.json.Decoder(dict[str, Any])
_tools = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])


class Example(msgspec.Struct, frozen=True, kw_only=True):
    """One prompt with one answer of the teacher."""

    prompt: list[msgspec.Raw]
    """The messages before the answer, each on one line."""
    answer: Reply
    tools: list[msgspec.Raw]
    """The definitions of the functions that could be called; none of the teacher's own tools."""
    may_call_in_parallel: bool


def examples_of(row: Row) -> Iterator[Example]:
    """Yield an example for each answer in `row`; none if a trainer could not take it.

    Refusals and answers that were cut teach nothing. Left out too: recordings, files, and calls of
    anything but functions.
    """
    replies = list_replies(row)
    prompt = _read_prompt(row.messages) if replies else None
    if prompt is None:
        return
    tools = _list_functions(row.tools)
    for reply in replies:
        yield Example(prompt=prompt, answer=reply, tools=tools, may_call_in_parallel=row.may_call_in_parallel)


def list_replies(row: Row) -> list[Reply]:
    """Return the teacher's messages, one per choice; none for a refusal or an answer that was cut."""
    if row.reply:
        return _replies.decode(row.reply)
    reply = _reply_of(row.answer, row, row.request_id) if row.ending == "whole" else None
    return [reply] if reply else []


def preferred_pair(row: Row) -> tuple[Example, Reply] | None:
    """Return the teacher's answer and the draft that it was preferred to; None without one that differs.

    Of evidence there is never one: what a specialist got wrong there must not be taught to the next.
    """
    if row.is_held_out or not row.draft or _canonical(row.draft) == _canonical(row.answer):
        return None
    rejected = _reply_of(row.draft, row, f"{row.request_id} draft")
    chosen = next(examples_of(row), None)
    return (chosen, rejected) if chosen and rejected else None


def render_line(fields: dict[str, object]) -> bytes:
    """Return a line of JSONL."""
    return _encode(fields) + b"\n"


def _canonical(text: str) -> object:
    """Return what a text says whatever its white space, its keys' order, or how its calls are written."""
    if calls := parse_tool_calls(text):
        return [(call.name, msgspec.json.decode(call.arguments)) for call in calls]
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return text.split()


def _reply_of(text: str, row: Row, seed: str) -> Reply | None:
    # Only where functions were offered does the markup of calls mean calls. Rows of an older stepdown
    # do not tell which were offered; they have no policy either.
    if row.tools or not row.policy:
        return reply_of_text(text, seed)
    return Reply(role="assistant", content=text) if text else None


def _read_prompt(messages: bytes) -> list[msgspec.Raw] | None:
    """Return the messages as a trainer takes them; None if it would not."""
    prompt = []
    for raw in _messages.decode(messages):
        message = _fields.decode(raw)
        if not _is_plain(message):
            return None
        cleaned = _clean(message)
        prompt.append(msgspec.Raw(_one_line(bytes(raw) if cleaned == message else _encode(cleaned))))
    return prompt


def _is_plain(message: dict[str, Any]) -> bool:
    """Whether a trainer takes `message`; a lenient teacher has answered more than that."""
    role, content, calls = message.get("role"), message.get("content"), message.get("tool_calls") or []
    is_answer = role == "assistant" and bool(calls or message.get("refusal"))
    return (
        not message.get("function_call")
        and role != "function"
        and (role != "tool" or isinstance(message.get("tool_call_id"), str))
        and (isinstance(content, str) or bool(content) or is_answer)
        and (not isinstance(content, list) or all(map(_is_part, content)))
        and all(map(_is_call, calls))
    )


def _is_part(part: dict[str, Any]) -> bool:
    kind = part.get("type", "")
    return kind in _PARTS and isinstance(part.get(kind), _PARTS[kind])


def _is_call(call: Any) -> bool:
    is_function = isinstance(call, dict) and call.get("type", "function") == "function"
    return is_function and isinstance(call.get("function"), dict) and isinstance(call.get("id"), str)


def _clean(message: dict[str, Any]) -> dict[str, Any]:
    """Return `message` without what only an answer has, in the words of fine-tuning."""
    kept = {
        name: value
        for name, value in message.items()
        if name not in _NOT_SENT and (name == "content" or value not in (None, []))
    }
    if kept.get("role") == "developer":
        # The newer word for the same place; neither fine-tuning nor chat templates know it.
        kept["role"] = "system"
    if calls := kept.get("tool_calls"):
        kept["tool_calls"] = [_clean_call(call) for call in calls]
    refusal = kept.pop("refusal", None)
    if refusal and not kept.get("content"):
        kept["content"] = refusal
    return kept


def _clean_call(call: dict[str, Any]) -> dict[str, Any]:
    """Return a call without what clients add to it: the index of a stream, parsed arguments."""
    function = {name: call["function"].get(name) or "" for name in ("name", "arguments")}
    if not isinstance(function["arguments"], str):
        # Some servers take the arguments as an object; the API has them as its text.
        function["arguments"] = _encode(function["arguments"]).decode()
    return {"id": call.get("id"), "type": "function", "function": function}


def _list_functions(tools: bytes) -> list[msgspec.Raw]:
    listed = _tools.decode(tools or b"[]")
    return [msgspec.Raw(_one_line(_encode(tool))) for tool in listed if _is_function(tool)]


def _is_function(tool: dict[str, msgspec.Raw]) -> bool:
    return bytes(tool.get("type", msgspec.Raw(b""))) == b'"function"'


def _one_line(json: bytes) -> bytes:
    """Return the same JSON on one line; its strings cannot hold a raw line break."""
    return json.replace(b"\r", b"").replace(b"\n", b"")
