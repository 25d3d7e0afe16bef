"""An answer of the chat API read from its bytes: its text, its usage, and whether it has ended."""

from __future__ import annotations

import zlib

import msgspec

from gateway.core import Reading, Usage
from gateway.wire.content_encoding import decode_content
from gateway.wire.sse import DONE, iter_events
from gateway.wire.tool_calls import make_tool_call, render_tool_calls

_NOTHING = msgspec.Raw(b"null")
_PLAIN_ENDS = frozenset({"stop", "length", "tool_calls"})


class _FunctionDelta(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _ToolCallDelta(msgspec.Struct):
    """A tool call, or a stream's piece of one."""

    index: int | None = None
    type: str | None = None
    function: _FunctionDelta | None = None


class _MessageDelta(msgspec.Struct):
    """A message, or a stream's delta: the two differ only in being whole."""

    content: str | None = None
    refusal: str | None = None
    tool_calls: msgspec.Raw = _NOTHING
    function_call: msgspec.Raw = _NOTHING
    audio: msgspec.Raw = _NOTHING

    @property
    def is_plain(self) -> bool:
        return not (self.refusal or _is_set(self.function_call) or _is_set(self.audio))


_EMPTY_DELTA = _MessageDelta()


class _ChatChoice(msgspec.Struct):
    index: int = 0
    message: _MessageDelta | None = None
    delta: _MessageDelta | None = None
    finish_reason: str | None = None


class _CompletionPart(msgspec.Struct):
    """A whole completion, or one chunk of it."""

    model: str | None = None
    choices: list[_ChatChoice] | None = None
    usage: msgspec.Raw = _NOTHING
    error: msgspec.Raw = _NOTHING


class _PromptDetails(msgspec.Struct):
    cached_tokens: int | None = None


class _ChatUsage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: _PromptDetails | None = None


_parts = msgspec.json.Decoder(_CompletionPart)
_usages = msgspec.json.Decoder(_ChatUsage)
_calls = msgspec.json.Decoder(list[_ToolCallDelta] | None)


def parse_answer(answer: bytes, encoding: str, is_event_stream: bool, is_complete: bool) -> Reading:
    """Return what `answer` says; never raises.

    `encoding` is the content-encoding, `is_complete` whether the whole body arrived. Tool calls
    are text in the form of `wire.tool_calls`. The text is None for refusals, calls beside words,
    several choices, errors, and anything unreadable.
    """
    try:
        content = decode_content(answer, encoding)
        events = list(iter_events(content)) if is_event_stream else [content]
        parts = [_parts.decode(event) for event in events if event != DONE]
    except (ValueError, RecursionError, zlib.error):
        return Reading(text=None)
    return _read_parts(parts, is_complete=is_complete)


def _read_parts(parts: list[_CompletionPart], *, is_complete: bool) -> Reading:
    choices: list[_ChatChoice] = []
    model, finish_reason, usage, has_failed = "", "", None, False
    # One loop: it runs for every chunk of every stream.
    for part in parts:
        choices += part.choices or ()
        model = model or part.model or ""
        has_failed = has_failed or _is_set(part.error)
        if part.usage is not _NOTHING:
            usage = _read_usage(part.usage) or usage
    for choice in choices:
        finish_reason = choice.finish_reason or finish_reason
    return Reading(
        text=None if has_failed else _read_text(choices, finish_reason),
        model=model,
        finish_reason=finish_reason,
        usage=usage,
        is_complete=is_complete and bool(finish_reason) and not has_failed,
    )


def _read_text(choices: list[_ChatChoice], finish_reason: str) -> str | None:
    deltas: list[_MessageDelta] = []
    is_whole = False
    for choice in choices:
        delta = choice.message or choice.delta or _EMPTY_DELTA
        if choice.index or not delta.is_plain:
            return None
        is_whole = is_whole or choice.message is not None
        deltas.append(delta)
    if not deltas or (is_whole and len(deltas) > 1) or (finish_reason and finish_reason not in _PLAIN_ENDS):
        return None
    contents = [delta.content for delta in deltas if delta.content is not None]
    text = "".join(contents)
    try:
        calling = [delta.tool_calls for delta in deltas if delta.tool_calls is not _NOTHING]
        calls = [call for raw in calling for call in _calls.decode(raw) or ()]
    except (ValueError, RecursionError):
        return None
    if calls:
        # Words beside calls are neither a text nor plain calls.
        return None if text.strip() else _read_calls(calls, is_whole=is_whole)
    return text if contents else None


def _read_calls(deltas: list[_ToolCallDelta], *, is_whole: bool) -> str | None:
    """Return the tool calls as text, None unless each calls a function with JSON arguments.

    `deltas` are whole calls, or what the chunks of a stream add to the call of their index.
    """
    names: dict[int, str] = {}
    arguments: dict[int, str] = {}
    for place, delta in enumerate(deltas):
        index = place if is_whole else delta.index or 0
        function = delta.function or _FunctionDelta()
        # A name comes once and whole: two of them are two calls with the same number.
        if delta.type not in (None, "function") or (function.name and names.get(index)):
            return None
        names[index] = names.get(index) or function.name or ""
        arguments[index] = arguments.get(index, "") + (function.arguments or "")
    calls = [make_tool_call(names[index], arguments[index] or "{}") for index in sorted(names)]
    sound = [call for call in calls if call]
    return render_tool_calls(sound) if sound and len(sound) == len(calls) else None


def _read_usage(raw: msgspec.Raw) -> Usage | None:
    if not _is_set(raw):
        return None
    try:
        usage = _usages.decode(raw)
    except (ValueError, RecursionError):
        return None
    details = usage.prompt_tokens_details
    cached = (details.cached_tokens if details else None) or 0
    if min(usage.prompt_tokens, usage.completion_tokens, cached) < 0:
        return None
    return Usage(usage.prompt_tokens, usage.completion_tokens, cached)


def _is_set(raw: msgspec.Raw) -> bool:
    # Absent fields share one default: asking for its bytes would copy them.
    return raw is not _NOTHING and bytes(raw) != b"null"
