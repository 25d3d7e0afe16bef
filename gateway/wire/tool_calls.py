"""Tool calls as text: their one form in the harvest, in training, in drafts and in comparisons."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

CALL_BEGIN = "<tool_call>"
"""Each call begins with it; no text for a client should hold it."""

_CALL_END = "</tool_call>"
_CALL = re.compile(rf"\s*{CALL_BEGIN}\s*(\{{.*?\}})\s*{_CALL_END}\s*", re.DOTALL)


class ToolCall(msgspec.Struct, frozen=True):
    """A function's name and its arguments: the JSON of an object, as the model wrote it."""

    name: str
    arguments: msgspec.Raw = msgspec.Raw(b"{}")

    @property
    def arguments_text(self) -> str:
        """The arguments as OpenAI sends them: JSON inside a string."""
        return bytes(self.arguments).decode()


_decode = msgspec.json.Decoder(ToolCall).decode


def make_tool_call(name: str, arguments: str) -> ToolCall | None:
    """Return the call of `name`, None if the name is empty or the arguments are not a JSON object."""
    call = ToolCall(name, msgspec.Raw(arguments.encode("utf-8", "replace")))
    return call if _is_sound(call) else None


def render_tool_calls(calls: Sequence[ToolCall]) -> str:
    """Return `calls` as text, one block per call."""
    return "\n".join(f"{CALL_BEGIN}\n{_render_block(call)}\n{_CALL_END}" for call in calls)


def parse_tool_calls(text: str) -> tuple[ToolCall, ...] | None:
    """Return the calls that make up `text`, at least one; None if it is anything else."""
    if not text.lstrip().startswith(CALL_BEGIN):
        return None
    calls, place = [], 0
    while place < len(text):
        found = _CALL.match(text, place)
        call = _parse_block(found[1]) if found else None
        if found is None or call is None:
            return None
        calls.append(call)
        place = found.end()
    return tuple(calls)


def _render_block(call: ToolCall) -> str:
    # Inside JSON only a string can hold the end of a block, and a string may escape it.
    return msgspec.json.encode(call).decode().replace(_CALL_END, r"\u003c/tool_call>")


def _parse_block(block: str) -> ToolCall | None:
    try:
        call = _decode(block)
    except (msgspec.MsgspecError, UnicodeEncodeError, RecursionError):
        return None
    return call if _is_sound(call) else None


def _is_sound(call: ToolCall) -> bool:
    try:
        return bool(call.name) and isinstance(msgspec.json.decode(call.arguments), dict)
    except (msgspec.MsgspecError, RecursionError):
        return False
