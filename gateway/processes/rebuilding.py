"""Requests of harvested rows as the app sent them, for another model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from itertools import permutations
from typing import Any

import msgspec

from gateway.harvest.base import Row
from gateway.harvest.conversations import Conversation, RecordedSurface
from gateway.wire.template import compute_fingerprints

_FLAT = ("type", "name", "description", "parameters", "strict")
"""Fields of a tool of the Responses API, in the order in which its reference has them."""


class _Spelling(msgspec.Struct, frozen=True):
    """The API that a request came through, and what no row keeps of it; JSON, empty when absent."""

    surface: RecordedSurface
    tools: bytes
    tool_choice: bytes


def can_be_rebuilt(row: Row) -> bool:
    """Whether the request of `row` can be sent as the app would.

    Not if private data was replaced in what it repeats, or its tools were spelled in a way of its own: rows
    of the Responses API hold them as the chat API writes them.
    """
    return _find_spelling_of(row) is not None


def rebuild_request(row: Row, model: str) -> Conversation:
    """Return the request of `row`, to `model`, as the app would send it; only of one that can be rebuilt."""
    spelling = _find_spelling_of(row)
    assert spelling is not None, "see can_be_rebuilt"
    messages = msgspec.json.decode(row.messages)
    fields: dict[str, Any] = {"model": model}
    form = row.response_format
    if spelling.surface == "chat":
        fields["messages"] = messages
        contract = [("response_format", form)]
    else:
        fields |= _read_items(messages)
        contract = [("text", _flatten_format(form) if form else b"")]
    contract += [("tools", spelling.tools), ("tool_choice", spelling.tool_choice)]
    # Byte for byte: a task is named by how the app spells these.
    fields |= {name: msgspec.Raw(content) for name, content in contract if content}
    if row.tools and not row.may_call_in_parallel:
        fields["parallel_tool_calls"] = False
    return Conversation(fields=fields, answer={}, surface=spelling.surface)


def _find_spelling_of(row: Row) -> _Spelling | None:
    return _find_spelling(row.template, row.model, row.template_text, row.tools, row.response_format)


# The rows of a task repeat these.
@lru_cache(maxsize=256)
def _find_spelling(template: str, model: str, shared: str, tools: bytes, form: bytes) -> _Spelling | None:
    """Return the spelling that gives a request its `template`; None if none fits."""
    for spelling in _list_spellings(tools):
        name = f"responses {model}" if spelling.surface == "responses" else model
        facts = (name.encode(), shared, spelling.tools, form, spelling.tool_choice)
        if compute_fingerprints(*facts)[0] == template:
            return spelling
    return None


def _list_spellings(tools: bytes) -> Iterator[_Spelling]:
    """Yield what an app may have sent, as clients spell it, the likeliest first."""
    functions = [tool.get("function", {}) for tool in msgspec.json.decode(tools)] if tools else []
    names = [function.get("name") for function in functions]
    nested = [{"type": "function", "function": {"name": name}} for name in names]
    flat = [{"type": "function", "name": name} for name in names]
    yield from (_Spelling("chat", tools, choice) for choice in _list_choices(nested))
    for spelled in _flatten_tools(tools) if tools else [b""]:
        yield from (_Spelling("responses", spelled, choice) for choice in _list_choices(flat))


def _list_choices(functions: list[dict[str, Any]]) -> Iterator[bytes]:
    yield b""
    if functions:
        yield from (b'"required"', b'"none"')
    for function in functions:
        yield from (msgspec.json.encode(function), json.dumps(function).encode())


def _flatten_tools(tools: bytes) -> Iterator[bytes]:
    """Yield functions as the Responses API has them, in each order of their fields, as clients write JSON."""
    nested = msgspec.json.decode(tools, type=list[dict[str, msgspec.Raw]])
    if not all("function" in tool for tool in nested):
        return
    flat = [
        {"type": tool["type"], **msgspec.json.decode(tool["function"], type=dict[str, msgspec.Raw])}
        for tool in nested
    ]
    used = [name for name in _FLAT if any(name in tool for tool in flat)]
    for order in permutations(used):
        for comma, colon in ((b",", b":"), (b", ", b": ")):
            written = [
                comma.join(b'"%b"%b%b' % (name.encode(), colon, tool[name]) for name in order if name in tool)
                for tool in flat
            ]
            yield b"[%b]" % comma.join(b"{%b}" % fields for fields in written)


def _flatten_format(form: bytes) -> bytes:
    """Return `text` of the Responses API for a `response_format`; it is read as the same one again."""
    fields = msgspec.json.decode(form, type=dict[str, msgspec.Raw])
    schema = fields.pop("json_schema", None)
    inner = msgspec.json.decode(schema, type=dict[str, msgspec.Raw]) if schema else {}
    return msgspec.json.encode({"format": {**fields, **inner} if inner else msgspec.Raw(form)})


def _read_items(messages: list[dict[str, Any]]) -> dict[str, Any]:
    """Return `instructions` and `input` for the messages that a row keeps of a request."""
    fields: dict[str, Any] = {}
    if messages[0]["role"] == "system":
        fields["instructions"] = messages[0]["content"]
        messages = messages[1:]
    is_lone = len(messages) == 1 and messages[0]["role"] == "user"
    fields["input"] = messages[0]["content"] if is_lone else messages
    return fields
