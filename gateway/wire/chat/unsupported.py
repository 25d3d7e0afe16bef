"""The reason why only the teacher can answer a chat request."""

from __future__ import annotations

from gateway.core import OWN_PREFIX
from gateway.wire.body import RawFields, get_field, has_float, unsupported_field
from gateway.wire.chat.fields import ChatFields, ChatMessage, ContentPart
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
# Of these, only the messages decide: most requests have no other field.
_PLAIN = frozenset(
    {"model", "messages", "stream", "stream_options", "temperature", "top_p", "user", "metadata"}
)
# OpenAI's other fields, counted by name.
_KNOWN = frozenset({"audio", "prediction", "logit_bias", "moderation", "web_search_options", "function_call"})
_PARTS = {"image_url": "image part", "input_audio": "audio part", "file": "file part"}


def unsupported_reason(fields: ChatFields, raw: RawFields) -> str:
    """Return why only the teacher can answer, as a countable phrase; empty when a specialist may."""
    if raw.keys() <= _PLAIN:
        return _conversation_reason(fields.messages)
    checks = (
        ("n > 1", fields.n not in (None, 1)),
        # A web search, a custom tool's grammar: calls of functions could replace neither.
        ("tools", any(tool.type != "function" for tool in fields.tools or ())),
        ("functions", fields.functions),
        # OpenAI refuses these; the words of the refusal are the teacher's.
        ("logprobs", _has_invalid_logprobs(fields)),
        ("tool_choice", not fields.tools and get_field(raw, "tool_choice") != b""),
        ("parallel_tool_calls", not fields.tools and get_field(raw, "parallel_tool_calls") != b""),
        ("modalities", fields.modalities not in (None, ["text"])),
        # The client will look for the stored answer at the teacher's.
        ("store", fields.store),
        ("integral float", _has_integral_float(fields)),
    )
    for reason, is_unsupported in checks:
        if is_unsupported:
            return reason
    return unsupported_field(raw, _HONORED, _KNOWN) or _conversation_reason(fields.messages)


def _has_integral_float(fields: ChatFields) -> bool:
    """Return whether the teacher is to judge a number such as `256.0`; a model of ours takes it."""
    return not fields.model.startswith(OWN_PREFIX) and has_float(
        fields.n, fields.max_tokens, fields.max_completion_tokens, fields.seed, fields.top_logprobs
    )


def _has_invalid_logprobs(fields: ChatFields) -> bool:
    return fields.top_logprobs is not None and not (fields.logprobs and 0 <= fields.top_logprobs <= 20)


def _conversation_reason(messages: list[ChatMessage]) -> str:
    for message in messages:
        if reason := _message_reason(message):
            return reason
    if not any(message.role == "user" and message.text for message in messages):
        return "no user text"
    return ""


def _message_reason(message: ChatMessage) -> str:
    if message.role in {"tool", "function"} or message.tool_calls or message.function_call:
        return "tool messages"
    if message.role not in ROLES:
        return "unknown role"
    if message.name:
        return "named message"
    if message.audio:
        return "audio"
    return _content_reason(message.content) if isinstance(message.content, list) else ""


def _content_reason(parts: list[ContentPart]) -> str:
    for part in parts:
        if part.type != "text" or part.text is None:
            return _PARTS.get(part.type, "unknown part")
    return ""
