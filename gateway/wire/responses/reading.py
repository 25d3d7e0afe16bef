"""What the bytes of an answer of the Responses API say, for those who count and learn."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import msgspec

from gateway.core import Reading, Usage
from gateway.wire.content_encoding import decode_content
from gateway.wire.errors import error_value
from gateway.wire.sse import iter_events
from gateway.wire.tool_calls import to_text, tool_call

_ENDS = frozenset({"response.completed", "response.incomplete", "response.failed"})
_REASONS = {"max_output_tokens": "length"}
# What a model thinks beside its answer is nobody else's to learn.
_THOUGHTS = frozenset({"reasoning"})
_NOTHING = msgspec.Raw(b"null")


class _Part(msgspec.Struct):
    type: str = ""
    text: str | None = None


class _Item(msgspec.Struct):
    type: str = ""
    content: list[_Part] | None = None
    name: str | None = None
    arguments: str | None = None


class _Why(msgspec.Struct):
    reason: str | None = None


class _Details(msgspec.Struct):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct):
    input_tokens: int = 0
    output_tokens: int = 0
    input_tokens_details: _Details | None = None


class _Response(msgspec.Struct):
    status: str | None = None
    model: str | None = None
    output: msgspec.Raw = _NOTHING
    usage: msgspec.Raw = _NOTHING
    incomplete_details: _Why | None = None


class _Event(msgspec.Struct):
    """Only the type is relied on: servers other than OpenAI's number their events or do not."""

    type: str = ""
    sequence_number: object = None
    delta: object = None
    response: msgspec.Raw = _NOTHING


_outputs = msgspec.json.Decoder(list[_Item] | None)
_usages = msgspec.json.Decoder(_Usage | None)
_responses = msgspec.json.Decoder(_Response)
_events = msgspec.json.Decoder(_Event)


def read_response(answer: bytes, encoding: str, is_event_stream: bool, is_complete: bool) -> Reading:
    """Return what `answer` says; never raises.

    As wire.reading.read_answer; of a stream without its end the text is what has come.
    """
    try:
        content = decode_content(answer, encoding)
        if not is_event_stream:
            return _reading(_responses.decode(content), is_complete=is_complete)
        events = list(iter_events(content))
        # From the end, where the whole answer stands once more: the deltas need not be read.
        ends = (event for event in map(_events.decode, reversed(events)) if event.type in _ENDS)
        if end := next(ends, None):
            return _reading(_responses.decode(end.response), is_complete=is_complete)
    except (ValueError, RecursionError, zlib.error):
        return Reading(text=None)
    return Reading(text=_text_so_far(events) or None)


def ends_complete(tail: bytes) -> bool:
    """Return whether the stream which ended with `tail` says so: a response at its end, or an error.

    `tail` may begin inside an event.
    """
    return any(event.type in _ENDS or event.type == "error" for event in _readable(tail))


def error_event(tail: bytes, message: str, kind: str, code: str | None) -> bytes:
    """Return the event which ends the broken stream of which `tail` are the last whole events.

    The reference has its fields at the top, but what OpenAI sends has them under `error`, which
    is what its clients raise.
    """
    numbers = [event.sequence_number for event in _readable(tail)]
    number = max((number for number in numbers if isinstance(number, int)), default=-1) + 1
    error = error_value(message, kind, None, code)
    event = {"type": "error", "code": code, "message": message, "param": None, **error}
    return b"event: error\ndata: %b\n\n" % msgspec.json.encode({**event, "sequence_number": number})


def _text_so_far(events: list[bytes]) -> str:
    read = map(_events.decode, events)
    return "".join(str(event.delta) for event in read if event.type == "response.output_text.delta")


def _readable(tail: bytes) -> Iterator[_Event]:
    for event in iter_events(tail):
        try:
            yield _events.decode(event)
        except (ValueError, RecursionError):
            continue


def _reading(response: _Response, *, is_complete: bool) -> Reading:
    text, has_calls = _text(_readable_output(response.output))
    reason = _finish_reason(response, has_calls=has_calls)
    return Reading(
        text=text if reason else None,
        model=response.model or "",
        finish_reason=reason,
        usage=_usage(response.usage),
        is_complete=is_complete and bool(reason),
    )


def _finish_reason(response: _Response, *, has_calls: bool) -> str:
    """Return the end in the chat API's words; empty for what is no finished answer."""
    if response.status == "completed":
        return "tool_calls" if has_calls else "stop"
    if response.status != "incomplete":
        return ""
    why = (response.incomplete_details or _Why()).reason or "incomplete"
    return _REASONS.get(why, why)


def _text(output: list[_Item]) -> tuple[str | None, bool]:
    """Return the one message or the calls as text, None for anything else, and whether calls were made."""
    items = [item for item in output if item.type not in _THOUGHTS]
    calls = [item for item in items if item.type == "function_call"]
    if not calls:
        is_message = len(items) == 1 and items[0].type == "message"
        return (_message_text(items[0]) if is_message else None), False
    made = [tool_call(item.name or "", item.arguments or "{}") for item in calls]
    sound = [call for call in made if call]
    # Words beside calls are neither the one answer nor the other.
    is_plain = len(sound) == len(items)
    return (to_text(sound) if is_plain else None), True


def _message_text(message: _Item) -> str | None:
    parts = message.content or []
    if not parts or any(part.type != "output_text" or part.text is None for part in parts):
        return None
    return "".join(part.text or "" for part in parts)


def _readable_output(output: msgspec.Raw) -> list[_Item]:
    try:
        return _outputs.decode(output) or []
    except (ValueError, RecursionError):
        # Items of a kind which we have never seen; the tokens are there to be counted all the same.
        return []


def _usage(raw: msgspec.Raw) -> Usage | None:
    try:
        read = _usages.decode(raw)
    except (ValueError, RecursionError):
        return None
    if read is None:
        return None
    cached = (read.input_tokens_details or _Details()).cached_tokens or 0
    if min(read.input_tokens, read.output_tokens, cached) < 0:
        return None
    return Usage(read.input_tokens, read.output_tokens, cached)
