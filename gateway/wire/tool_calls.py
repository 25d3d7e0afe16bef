"""Tool calls as text: the one form in which they are harvested, learnt, compared and drafted."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

BEGIN = "<tool_call>"
"""What each call begins with, and what no text for a client should hold."""

_END = "</tool_call>"
_CALL = re.compile(rf"\s*{BEGIN}\s*(\{{.*?\}})\s*{_END}\s*", re.DOTALL)


class ToolCall(msgspec.Struct, frozen=True):
    """A function's name and its arguments: the JSON of an object, as the model wrote it."""

    name: str
    arguments: msgspec.Raw = msgspec.Raw(b"{}")

    @property
    def arguments_text(self) -> str:
        """The arguments as OpenAI sends them: JSON inside a string."""
        return bytes(self.arguments).decode()


_decode = msgspec.json.Decoder(ToolCall).decode


def tool_call(name: str, arguments: str) -> ToolCall | None:
    """Return the call of `name`, None when it has no name or its arguments are no JSON object."""
    call = ToolCall(name, msgspec.Raw(arguments.encode("utf-8", "replace")))
    return call if _is_sound(call) else None


def to_text(calls: Sequence[ToolCall]) -> str:
    """Return `calls` as text, a block each."""
    return "\n".join(f"{BEGIN}\n{_block(call)}\n{_END}" for call in calls)


def from_text(text: str) -> tuple[ToolCall, ...] | None:
    """Return the calls of which `text` consists, at least one; None when it is anything else."""
    if not text.lstrip().startswith(BEGIN):
        return None
    calls, place = [], 0
    while place < len(text):
        found = _CALL.match(text, place)
        call = _read(found[1]) if found else None
        if found is None or call is None:
            return None
        calls.append(call)
        place = found.end()
    return tuple(calls)


def _block(call: ToolCall) -> str:
    # Inside JSON only a string can hold the end of a block, and a string may escape it.
    return msgspec.json.encode(call).decode().replace(_END, r"\u003c/tool_call>")


def _read(block: str) -> ToolCall | None:
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
