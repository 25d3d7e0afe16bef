"""Messages as the chat templates of open models read them: texts, and the arguments of calls as objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from gateway.harvest.examples import Example
from gateway.wire.replies import Reply

_messages = msgspec.json.Decoder(dict[str, Any])
_values = msgspec.json.Decoder()


def template_prompt(example: Example) -> list[dict[str, Any]] | None:
    """Return the messages before the answer; None with images, which trainers of texts cannot read."""
    prompt = [_to_template(_messages.decode(raw)) for raw in example.prompt]
    return prompt if all(isinstance(message["content"], str) for message in prompt) else None


def template_reply(reply: Reply) -> dict[str, Any]:
    """Return the message of an answer."""
    return _to_template(msgspec.to_builtins(reply))


def decode_tools(tools: Sequence[msgspec.Raw]) -> list[Any]:
    """Return the definitions of functions as plain data."""
    return [_values.decode(tool) for tool in tools]


def _to_template(message: dict[str, Any]) -> dict[str, Any]:
    content = message.get("content")
    if isinstance(content, list) and all(part["type"] != "image_url" for part in content):
        content = "\n".join(part.get("text") or part.get("refusal") or "" for part in content)
    told = {**message, "content": "" if content is None else content}
    if message.get("tool_calls"):
        told["tool_calls"] = [_to_template_call(call) for call in message["tool_calls"]]
    return told


def _to_template_call(call: dict[str, Any]) -> dict[str, Any]:
    function = call["function"]
    try:
        arguments = _values.decode(function.get("arguments") or "{}")
    except msgspec.DecodeError:
        # A call in the history that its model wrote wrongly: it happened, and stays as it was.
        arguments = function["arguments"]
    return {**call, "function": {**function, "arguments": arguments}}
