"""Spans and events of OpenTelemetry's conventions for generative AI, in OTLP's JSON or one by one.

Read are `gen_ai.input.messages`, `gen_ai.output.messages`, `gen_ai.system_instructions` and
`gen_ai.tool.definitions` (semantic conventions 1.37 and later, with capture of content on).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from gateway.harvest.conversations import Conversation, RecordError, parse_nested

_OUTPUT = "gen_ai.output.messages"
_REASONS = frozenset({"stop", "tool_call", "tool_calls", "", None})


def read_record(record: dict[str, Any]) -> list[Conversation] | None:
    """See Shape."""
    if not {"resourceSpans", "resourceLogs", "attributes"} & record.keys():
        return None
    found = (_read_attributes(one.get("attributes")) for one in _list_items(record))
    return [_read_conversation(attributes) for attributes in found if _OUTPUT in attributes]


def _list_items(record: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the spans and events of an export, or the one that `record` is."""
    if "attributes" in record:
        yield record
    for resources, scopes, items in (
        ("resourceSpans", "scopeSpans", "spans"),
        ("resourceLogs", "scopeLogs", "logRecords"),
    ):
        for resource in record.get(resources, ()):
            for scope in resource.get(scopes, ()):
                for item in scope.get(items, ()):
                    yield item
                    yield from item.get("events", ())


def _read_attributes(attributes: Any) -> dict[str, Any]:
    if isinstance(attributes, dict):
        return {name: parse_nested(value) for name, value in attributes.items()}
    if not isinstance(attributes, list):
        return {}
    return {one["key"]: parse_nested(_plain(one.get("value"))) for one in attributes if "key" in one}


def _plain(value: Any) -> Any:
    """Return OTLP's AnyValue as plain JSON."""
    if not isinstance(value, dict):
        return value
    if "arrayValue" in value:
        return [_plain(one) for one in value["arrayValue"].get("values", ())]
    if "kvlistValue" in value:
        return {one["key"]: _plain(one.get("value")) for one in value["kvlistValue"].get("values", ())}
    return next(iter(value.values()), None)


def _read_conversation(attributes: dict[str, Any]) -> Conversation:
    outputs, inputs = attributes[_OUTPUT], attributes.get("gen_ai.input.messages")
    if not isinstance(outputs, list) or len(outputs) != 1 or not isinstance(inputs, list) or not inputs:
        raise RecordError("not one answer to messages: content was not captured, or there were several")
    if outputs[0].get("finish_reason") not in _REASONS:
        raise RecordError(f"the answer ended with {outputs[0]['finish_reason']}")
    instructions = attributes.get("gen_ai.system_instructions") or []
    messages = [{"role": "system", "content": _join_texts(instructions)}] if instructions else []
    for message in inputs:
        messages += _read_message(message)
    fields: dict[str, Any] = {"messages": messages}
    if model := attributes.get("gen_ai.request.model"):
        fields["model"] = model
    if tools := attributes.get("gen_ai.tool.definitions"):
        fields["tools"] = [_read_tool(tool) for tool in tools]
    [answer] = _read_message({**outputs[0], "role": "assistant"})
    return Conversation(fields=fields, answer=answer)


def _read_message(message: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a message of the chat API; for results of tools one per result."""
    parts = message.get("parts") or []
    if results := [part for part in parts if part.get("type") == "tool_call_response"]:
        return [
            {"role": "tool", "tool_call_id": part.get("id"), "content": _as_text(part.get("response"))}
            for part in results
        ]
    calls = [_read_call(part) for part in parts if part.get("type") == "tool_call"]
    texts = [part for part in parts if part.get("type") not in ("tool_call", "reasoning")]
    read: dict[str, Any] = {"role": message.get("role"), "content": _join_texts(texts) if texts else None}
    return [read | {"tool_calls": calls} if calls else read]


def _join_texts(parts: list[dict[str, Any]]) -> str:
    if others := [part.get("type") for part in parts if part.get("type") != "text"]:
        raise RecordError(f"a message with a part of type '{others[0]}'")
    return "".join(str(part.get("content", "")) for part in parts)


def _read_call(part: dict[str, Any]) -> dict[str, Any]:
    function = {"name": part.get("name"), "arguments": _as_text(part.get("arguments"))}
    return {"id": part.get("id"), "type": "function", "function": function}


def _read_tool(tool: dict[str, Any]) -> dict[str, Any]:
    if "function" in tool:
        return tool
    return {"type": "function", "function": {name: tool[name] for name in tool if name != "type"}}


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
