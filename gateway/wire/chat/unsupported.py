"""What a specialist cannot do in a request's own terms."""

from __future__ import annotations

from gateway.wire.body import Fields, given, unsupported_field
from gateway.wire.chat.fields import Part, Peek, Turn
from gateway.wire.template import ROLES

# What a specialist honors, or may ignore without the client being able to tell.
_HONORED = frozenset(
    {"model", "messages", "stream", "stream_options", "store", "user", "metadata", "service_tier"}
    | {"temperature", "top_p", "presence_penalty", "frequency_penalty", "seed", "n", "stop"}
    | {"max_tokens", "max_completion_tokens", "response_format", "reasoning_effort", "verbosity"}
    | {"safety_identifier", "prompt_cache_key", "prompt_cache_retention"}
    | {"tools", "tool_choice", "parallel_tool_calls", "logprobs", "top_logprobs"}
    # Judged by value before the names are looked at:
    | {"functions", "modalities"}
)
# OpenAI's other fields, counted by name.
_KNOWN = frozenset({"audio", "prediction", "logit_bias", "moderation", "web_search_options", "function_call"})
_PARTS = {"image_url": "image part", "input_audio": "audio part", "file": "file part"}


def unsupported_reason(peeked: Peek, fields: Fields) -> str:
    """Return why only the teacher can answer, as a countable phrase; empty when a specialist may."""
    wishes = (
        ("n > 1", peeked.n not in (None, 1)),
        # A web search, a custom tool's grammar: nothing which calls of functions could replace.
        ("tools", any(tool.type != "function" for tool in peeked.tools or ())),
        ("functions", peeked.functions),
        # OpenAI refuses these; its words are the teacher's to say.
        ("logprobs", _logprobs_are_odd(peeked)),
        ("tool_choice", not peeked.tools and given(fields, "tool_choice") != b""),
        ("parallel_tool_calls", not peeked.tools and given(fields, "parallel_tool_calls") != b""),
        ("modalities", peeked.modalities not in (None, ["text"])),
        # The client will look for the stored answer at the teacher's.
        ("store", peeked.store),
    )
    for reason, is_wished in wishes:
        if is_wished:
            return reason
    return unsupported_field(fields, _HONORED, _KNOWN) or _beyond_turns(peeked.messages)


def _logprobs_are_odd(peeked: Peek) -> bool:
    return peeked.top_logprobs is not None and not (peeked.logprobs and 0 <= peeked.top_logprobs <= 20)


def _beyond_turns(turns: list[Turn]) -> str:
    for turn in turns:
        if reason := _beyond_turn(turn):
            return reason
    if not any(turn.role == "user" and turn.text for turn in turns):
        return "no user text"
    return ""


def _beyond_turn(turn: Turn) -> str:
    if turn.role in {"tool", "function"} or turn.tool_calls or turn.function_call:
        return "tool messages"
    if turn.role not in ROLES:
        return "unknown role"
    if turn.name:
        return "named message"
    if turn.audio:
        return "audio"
    return _beyond_parts(turn.content) if isinstance(turn.content, list) else ""


def _beyond_parts(parts: list[Part]) -> str:
    for part in parts:
        if part.type != "text" or part.text is None:
            return _PARTS.get(part.type, "unknown part")
    return ""
