"""A Responses request as it is kept: the conversation that a chat request would hold, nothing left out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from gateway.core import Request
from gateway.wire.body import get_field
from gateway.wire.conversation import Conversation, name_user
from gateway.wire.responses.output_format import OutputFormat, read_output_format

Json = dict[str, Any]

_TEXTS = frozenset({"input_text", "output_text", "text"})
_ELSEWHERE = ("previous_response_id", "conversation", "prompt")
"""Fields that say that a part of the conversation is kept by the teacher."""

_values = msgspec.json.Decoder(Json)


class _RawFields(msgspec.Struct):
    text: dict[str, msgspec.Raw] | None = None
    tools: list[dict[str, msgspec.Raw]] | None = None


_raw_fields = msgspec.json.Decoder(_RawFields)


class _ForeignItemError(Exception):
    """An item that no chat has."""


def keep_responses(request: Request) -> Conversation | None:
    """Return the conversation of `request`; None if the request does not hold it, or a chat could not."""
    fields = _values.decode(request.content)
    if any(fields.get(name) for name in _ELSEWHERE):
        return None
    try:
        messages = list(_iter_messages(fields))
    except (_ForeignItemError, AttributeError, KeyError, TypeError):
        # A shape that the teacher understood and we do not: half a conversation would teach nonsense.
        return None
    output = _read_format(request)
    return Conversation(
        messages=msgspec.json.encode(messages),
        tools=output.tools,
        response_format=output.response_format,
        may_call_in_parallel=request.may_call_in_parallel,
        user=name_user(fields.get("safety_identifier"), fields.get("user")),
    )


def _read_format(request: Request) -> OutputFormat:
    if not request.unsupported_reason:
        return OutputFormat(request.response_format, request.tools)
    fields = _raw_fields.decode(request.content)
    # The teacher's own tools, such as a search, are nothing that a chat request could name.
    functions = [tool for tool in fields.tools or () if get_field(tool, "type") == b'"function"']
    return read_output_format(fields.text, functions, b"")


def _iter_messages(fields: Json) -> Iterator[Json]:
    if fields.get("instructions"):
        yield {"role": "system", "content": fields["instructions"]}
    given = fields.get("input")
    if isinstance(given, str):
        yield {"role": "user", "content": given}
        return
    calls: list[Json] = []
    for item in given or ():
        kind = item.get("type") or "message"
        if kind == "function_call":
            calls.append(_to_call(item))
            continue
        if kind == "reasoning":
            continue
        # Calls that stand side by side are one message of a chat.
        if calls:
            yield {"role": "assistant", "content": None, "tool_calls": calls}
            calls = []
        yield _to_message(kind, item)
    if calls:
        yield {"role": "assistant", "content": None, "tool_calls": calls}


def _to_call(item: Json) -> Json:
    function = {"name": item["name"], "arguments": item["arguments"]}
    return {"id": item["call_id"], "type": "function", "function": function}


def _to_message(kind: str, item: Json) -> Json:
    if kind == "function_call_output":
        output = item["output"]
        content = output if isinstance(output, str) else _to_content(output)
        return {"role": "tool", "tool_call_id": item["call_id"], "content": content}
    if kind != "message":
        raise _ForeignItemError
    content = item["content"]
    return {"role": item["role"], "content": content if isinstance(content, str) else _to_content(content)}


def _to_content(parts: list[Json]) -> str | list[Json]:
    """Return the content as a text where it is nothing else, else its parts as the chat API has them."""
    if all(part["type"] in _TEXTS for part in parts):
        return "\n".join(part["text"] for part in parts)
    return [_to_part(part) for part in parts]


def _to_part(part: Json) -> Json:
    if part["type"] in _TEXTS:
        return {"type": "text", "text": part["text"]}
    if part["type"] == "input_image" and part.get("image_url"):
        detail = {"detail": part["detail"]} if part.get("detail") else {}
        return {"type": "image_url", "image_url": {"url": part["image_url"], **detail}}
    raise _ForeignItemError
