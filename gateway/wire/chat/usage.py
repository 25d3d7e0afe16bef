"""The usage of a chat completion as OpenAI writes it, read fast; any other goes field by field."""

from __future__ import annotations

import msgspec

from gateway.core import Usage
from gateway.wire.usage import MOST_TOKENS, read_usage


class _PromptDetails(msgspec.Struct):
    cached_tokens: int = 0
    audio_tokens: int = 0
    image_tokens: int = 0
    cache_write_tokens: int = 0


class _CompletionDetails(msgspec.Struct):
    reasoning_tokens: int = 0
    audio_tokens: int = 0
    image_tokens: int = 0


_NO_PROMPT_DETAILS = _PromptDetails()
_NO_COMPLETION_DETAILS = _CompletionDetails()


class _ChatUsage(msgspec.Struct, forbid_unknown_fields=True):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None


_usages = msgspec.json.Decoder(_ChatUsage)
_values = msgspec.json.Decoder()


def read_chat_usage(raw: msgspec.Raw) -> Usage | None:
    """Return what the JSON of a usage object says; None if it is none. Never raises.

    As `wire.usage.read_usage`, in a third of its time for the usual case: this runs for every answer.
    """
    try:
        return _read_plain(_usages.decode(raw))
    except (ValueError, RecursionError):
        return _read_odd(raw)


def _read_plain(usage: _ChatUsage) -> Usage:
    prompt, completion = usage.prompt_tokens, usage.completion_tokens
    incoming = usage.prompt_tokens_details or _NO_PROMPT_DETAILS
    outgoing = usage.completion_tokens_details or _NO_COMPLETION_DETAILS
    cached = incoming.cached_tokens
    is_sum = usage.total_tokens == prompt + completion <= MOST_TOKENS and prompt >= cached >= 0 <= completion
    is_text = not (
        incoming.audio_tokens
        or incoming.image_tokens
        or incoming.cache_write_tokens
        or outgoing.audio_tokens
        or outgoing.image_tokens
    )
    if not (is_sum and is_text):
        raise ValueError("not the usual case")
    return Usage(prompt, completion, cached, False, 0, max(0, outgoing.reasoning_tokens))


def _read_odd(raw: msgspec.Raw) -> Usage | None:
    try:
        return read_usage(_values.decode(raw))
    except (ValueError, RecursionError):
        return None
