"""What an answer's bytes say, for those who count and learn; the client's copy is not touched."""

from __future__ import annotations

import zlib

import msgspec

from gateway.core import Reading, Usage
from gateway.wire.sse import DONE, iter_events

# A decoded answer beyond this is a decompression bomb, not a narrow task.
MAX_DECODED_BYTES = 32 << 20
_NOTHING = msgspec.Raw(b"null")
_PLAIN_ENDS = frozenset({"stop", "length"})


class _Said(msgspec.Struct):
    """A message, or a stream's delta: the two differ only in being whole."""

    content: str | None = None
    refusal: str | None = None
    tool_calls: list[msgspec.Raw] | None = None
    function_call: msgspec.Raw = _NOTHING
    audio: msgspec.Raw = _NOTHING

    @property
    def is_plain(self) -> bool:
        return not (self.refusal or self.tool_calls or _is_set(self.function_call) or _is_set(self.audio))


class _Choice(msgspec.Struct):
    index: int = 0
    message: _Said | None = None
    delta: _Said | None = None
    finish_reason: str | None = None


class _Part(msgspec.Struct):
    """A whole completion, or one chunk of it."""

    model: str | None = None
    choices: list[_Choice] | None = None
    usage: msgspec.Raw = _NOTHING
    error: msgspec.Raw = _NOTHING


class _Details(msgspec.Struct):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: _Details | None = None


_parts = msgspec.json.Decoder(_Part)
_usages = msgspec.json.Decoder(_Usage)


def read_answer(answer: bytes, encoding: str, is_event_stream: bool, is_complete: bool) -> Reading:
    """Return what `answer` says; never raises.

    `encoding` is the content-encoding, `is_complete` whether the whole body arrived. The text
    is None for tool calls, refusals, several choices, errors, and for whatever is unreadable.
    """
    try:
        content = _decoded(answer, encoding)
        events = list(iter_events(content)) if is_event_stream else [content]
        parts = [_parts.decode(event) for event in events if event != DONE]
    except (ValueError, RecursionError, zlib.error):
        return Reading(text=None)
    return _reading(parts, is_complete=is_complete)


def _reading(parts: list[_Part], *, is_complete: bool) -> Reading:
    choices = [choice for part in parts for choice in part.choices or ()]
    has_failed = any(_is_set(part.error) for part in parts)
    finish_reason = next((choice.finish_reason for choice in reversed(choices) if choice.finish_reason), "")
    return Reading(
        text=None if has_failed else _text(choices, finish_reason),
        model=next((part.model for part in parts if part.model), ""),
        finish_reason=finish_reason,
        usage=next((usage for part in reversed(parts) if (usage := _usage(part.usage))), None),
        is_complete=is_complete and bool(finish_reason) and not has_failed,
    )


def _text(choices: list[_Choice], finish_reason: str) -> str | None:
    said = [choice.message or choice.delta or _Said() for choice in choices]
    is_whole = any(choice.message for choice in choices)
    if not choices or any(choice.index for choice in choices) or (is_whole and len(choices) > 1):
        return None
    if not all(piece.is_plain for piece in said) or (finish_reason and finish_reason not in _PLAIN_ENDS):
        return None
    if all(piece.content is None for piece in said):
        return None
    return "".join(piece.content or "" for piece in said)


def _usage(raw: msgspec.Raw) -> Usage | None:
    if not _is_set(raw):
        return None
    try:
        read = _usages.decode(raw)
    except (ValueError, RecursionError):
        return None
    details = read.prompt_tokens_details
    cached = (details.cached_tokens if details else None) or 0
    if min(read.prompt_tokens, read.completion_tokens, cached) < 0:
        return None
    return Usage(read.prompt_tokens, read.completion_tokens, cached)


def _is_set(raw: msgspec.Raw) -> bool:
    return bytes(raw) != b"null"


def _decoded(answer: bytes, encoding: str) -> bytes:
    """Return `answer` without its content-encoding. Raises ValueError for encodings not asked for."""
    match encoding.strip().lower():
        case "" | "identity":
            return answer
        case "gzip" | "x-gzip":
            return _inflated(answer, 16 + zlib.MAX_WBITS)
        case "deflate":
            # Some servers send the raw form; the zlib form begins with 0x78.
            return _inflated(answer, zlib.MAX_WBITS if answer[:1] == b"\x78" else -zlib.MAX_WBITS)
    raise ValueError(f"unreadable content-encoding {encoding}")


def _inflated(answer: bytes, window_bits: int) -> bytes:
    engine = zlib.decompressobj(window_bits)
    content = engine.decompress(answer, MAX_DECODED_BYTES)
    if engine.unconsumed_tail:
        raise ValueError("the answer grows beyond the limit")
    return content
