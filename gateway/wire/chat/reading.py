"""What an answer's bytes say, for those who count and learn; the client's copy is not touched."""

from __future__ import annotations

import zlib

import msgspec

from gateway.core import Reading, Usage
from gateway.wire.content_encoding import decode_content
from gateway.wire.sse import DONE, iter_events
from gateway.wire.tool_calls import to_text, tool_call

_NOTHING = msgspec.Raw(b"null")
_PLAIN_ENDS = frozenset({"stop", "length", "tool_calls"})


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _Call(msgspec.Struct):
    """A tool call, or a stream's piece of one."""

    index: int | None = None
    type: str | None = None
    function: _Function | None = None


class _Said(msgspec.Struct):
    """A message, or a stream's delta: the two differ only in being whole."""

    content: str | None = None
    refusal: str | None = None
    tool_calls: msgspec.Raw = _NOTHING
    function_call: msgspec.Raw = _NOTHING
    audio: msgspec.Raw = _NOTHING

    @property
    def is_plain(self) -> bool:
        return not (self.refusal or _is_set(self.function_call) or _is_set(self.audio))


_SILENCE = _Said()


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
_calls = msgspec.json.Decoder(list[_Call] | None)


def read_answer(answer: bytes, encoding: str, is_event_stream: bool, is_complete: bool) -> Reading:
    """Return what `answer` says; never raises.

    `encoding` is the content-encoding, `is_complete` whether the whole body arrived. Tool calls
    are text as `wire.tool_calls` has it. The text is None for refusals, calls beside words,
    several choices, errors, and for whatever is unreadable.
    """
    try:
        content = decode_content(answer, encoding)
        events = list(iter_events(content)) if is_event_stream else [content]
        parts = [_parts.decode(event) for event in events if event != DONE]
    except (ValueError, RecursionError, zlib.error):
        return Reading(text=None)
    return _reading(parts, is_complete=is_complete)


def _reading(parts: list[_Part], *, is_complete: bool) -> Reading:
    choices: list[_Choice] = []
    model, finish_reason, usage, has_failed = "", "", None, False
    # One loop: it runs for every chunk of every stream.
    for part in parts:
        choices += part.choices or ()
        model = model or part.model or ""
        has_failed = has_failed or _is_set(part.error)
        if part.usage is not _NOTHING:
            usage = _usage(part.usage) or usage
    for choice in choices:
        finish_reason = choice.finish_reason or finish_reason
    return Reading(
        text=None if has_failed else _text(choices, finish_reason),
        model=model,
        finish_reason=finish_reason,
        usage=usage,
        is_complete=is_complete and bool(finish_reason) and not has_failed,
    )


def _text(choices: list[_Choice], finish_reason: str) -> str | None:
    said: list[_Said] = []
    is_whole = False
    for choice in choices:
        piece = choice.message or choice.delta or _SILENCE
        if choice.index or not piece.is_plain:
            return None
        is_whole = is_whole or choice.message is not None
        said.append(piece)
    if not said or (is_whole and len(said) > 1) or (finish_reason and finish_reason not in _PLAIN_ENDS):
        return None
    contents = [piece.content for piece in said if piece.content is not None]
    text = "".join(contents)
    try:
        calling = [piece.tool_calls for piece in said if piece.tool_calls is not _NOTHING]
        pieces = [call for raw in calling for call in _calls.decode(raw) or ()]
    except (ValueError, RecursionError):
        return None
    if pieces:
        # Words beside calls are neither the one answer nor the other.
        return None if text.strip() else _calls_text(pieces, is_whole=is_whole)
    return text if contents else None


def _calls_text(pieces: list[_Call], *, is_whole: bool) -> str | None:
    """Return the tool calls as text, None when one is no call of a function with JSON arguments.

    `pieces` are whole calls, or what the deltas of a stream add to the call of their index.
    """
    names: dict[int, str] = {}
    arguments: dict[int, str] = {}
    for place, piece in enumerate(pieces):
        index = place if is_whole else piece.index or 0
        function = piece.function or _Function()
        # A name comes once and whole: two of them are two calls which somebody numbered alike.
        if piece.type not in (None, "function") or (function.name and names.get(index)):
            return None
        names[index] = names.get(index) or function.name or ""
        arguments[index] = arguments.get(index, "") + (function.arguments or "")
    calls = [tool_call(names[index], arguments[index] or "{}") for index in sorted(names)]
    sound = [call for call in calls if call]
    return to_text(sound) if sound and len(sound) == len(calls) else None


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
    # Absent fields share one default: asking for its bytes would copy them.
    return raw is not _NOTHING and bytes(raw) != b"null"
