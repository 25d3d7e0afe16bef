"""An answer of the chat API read from its bytes: its text, its usage, and whether it has ended."""

from __future__ import annotations

import msgspec

from gateway.core import Reading, Usage
from gateway.wire.billing import BillingFacts, read_events, read_object
from gateway.wire.chat.usage import read_chat_usage
from gateway.wire.sse import DONE, iter_events
from gateway.wire.tool_calls import make_tool_call, render_tool_calls
from gateway.wire.written import count_written_choices, utf8_bytes

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
    reasoning_content: msgspec.Raw = _NOTHING
    reasoning: msgspec.Raw = _NOTHING

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

    id: str = ""
    model: str | None = None
    service_tier: str | None = None
    choices: list[_ChatChoice] | None = None
    usage: msgspec.Raw = _NOTHING
    error: msgspec.Raw = _NOTHING


_parts = msgspec.json.Decoder(_CompletionPart)
_calls = msgspec.json.Decoder(list[_ToolCallDelta] | None)


def parse_answer(content: bytes, is_event_stream: bool, is_complete: bool) -> Reading:
    """Return what an answer says, given without its content-encoding; never raises.

    `is_complete` is whether the whole body arrived. Tool calls are text in the form of
    `wire.tool_calls`. The text is None for refusals, calls beside words, several choices, errors,
    and anything unreadable; what it took is read all the same.
    """
    events = list(iter_events(content)) if is_event_stream else [content]
    try:
        parts = [_parts.decode(event) for event in events if event != DONE]
    except (ValueError, RecursionError):
        return _read_odd(events, read_events(events) if is_event_stream else read_object(content))
    return _read_parts(parts, events, is_complete=is_complete)


def _read_odd(events: list[bytes], facts: BillingFacts) -> Reading:
    """Return what can be said of an answer of an unforeseen shape: what it took, and how much was written."""
    return Reading(
        text=None,
        model=facts.model,
        usage=facts.usage,
        written_bytes=count_written_choices(events) if facts.usage is None else 0,
        service_tier=facts.service_tier,
        id=facts.id,
    )


def _read_parts(parts: list[_CompletionPart], events: list[bytes], *, is_complete: bool) -> Reading:
    choices: list[_ChatChoice] = []
    answer_id, model, tier, finish_reason, usage, has_failed = "", "", "", "", _NOTHING, False
    # One loop: it runs for every chunk of every stream.
    for part in parts:
        choices += part.choices or ()
        model = model or part.model or ""
        tier = part.service_tier or tier
        answer_id = answer_id or part.id
        has_failed = has_failed or _is_set(part.error)
        if part.usage is not _NOTHING and bytes(part.usage) != b"null":
            usage = part.usage
    for choice in choices:
        finish_reason = choice.finish_reason or finish_reason
    text = None if has_failed else _read_text(choices, finish_reason)
    read = _decode_usage(usage, events)
    if text is not None:
        written_bytes = utf8_bytes(text) + _count_reasoning(choices)
    else:
        written_bytes = count_written_choices(events) if read is None else 0
    return Reading(
        text=text,
        model=model,
        finish_reason=finish_reason,
        usage=read,
        is_complete=is_complete and bool(finish_reason) and not has_failed,
        written_bytes=written_bytes,
        service_tier=tier,
        id=answer_id,
        status="failed" if has_failed else "",
    )


def _count_reasoning(choices: list[_ChatChoice]) -> int:
    """Return the bytes of what was thought beside the answer, as many servers show it."""
    count = 0
    for choice in choices:
        delta = choice.message or choice.delta or _EMPTY_DELTA
        if delta.reasoning_content is not _NOTHING or delta.reasoning is not _NOTHING:
            raws = (delta.reasoning_content, delta.reasoning)
            count += sum(len(bytes(raw)) - 2 for raw in raws if _is_set(raw))
    return count


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


def _decode_usage(raw: msgspec.Raw, events: list[bytes]) -> Usage | None:
    usage = read_chat_usage(raw) if raw is not _NOTHING else None
    if usage is not None and (_says_all(usage) or len(events) == 1):
        return usage
    if not any(b'"usage"' in event for event in events):
        return None
    # The last usage says nothing or only a part, or it stands elsewhere: an earlier one may say more.
    return read_events(events).usage or usage


def _says_all(usage: Usage) -> bool:
    return not usage.is_estimated and bool(usage.prompt_tokens or usage.completion_tokens)


def _is_set(raw: msgspec.Raw) -> bool:
    # Absent fields share one default: asking for its bytes would copy them.
    return raw is not _NOTHING and bytes(raw) != b"null"
