"""An answer of the Responses API read from its bytes: its text, its usage, and whether it has ended."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from gateway.core import Reading
from gateway.wire.billing import BillingFacts, read_events, read_object
from gateway.wire.errors import error_value
from gateway.wire.sse import iter_events
from gateway.wire.tool_calls import make_tool_call, render_tool_calls
from gateway.wire.written import count_written_bytes, utf8_bytes

# "done" is the realtime API's word for all of them.
_ENDS = frozenset({"response.completed", "response.incomplete", "response.failed", "response.done"})
_FINISH_REASONS = {"max_output_tokens": "length"}
_NOTHING = msgspec.Raw(b"null")


class _OutputPart(msgspec.Struct):
    type: str = ""
    text: str | None = None


class _OutputItem(msgspec.Struct):
    type: str = ""
    content: list[_OutputPart] | None = None
    name: str | None = None
    arguments: str | None = None


class _IncompleteDetails(msgspec.Struct):
    reason: str | None = None


class _ResponseObject(msgspec.Struct):
    status: str | None = None
    model: str | None = None
    output: msgspec.Raw = _NOTHING
    incomplete_details: _IncompleteDetails | None = None


class _StreamEvent(msgspec.Struct):
    """Only the type is relied on: servers other than OpenAI's may leave out the numbers."""

    type: str = ""
    sequence_number: object = None
    delta: object = None
    response: msgspec.Raw = _NOTHING


_outputs = msgspec.json.Decoder(list[_OutputItem] | None)
_values = msgspec.json.Decoder()
_responses = msgspec.json.Decoder(_ResponseObject)
_events = msgspec.json.Decoder(_StreamEvent)


def parse_answer(content: bytes, is_event_stream: bool, is_complete: bool) -> Reading:
    """Return what an answer says, given without its content-encoding; never raises.

    As `wire.chat.reading.parse_answer`; the text of a stream without its end is the text so far.
    """
    if not is_event_stream:
        return _read_whole(content, read_object(content), is_complete=is_complete)
    events = list(iter_events(content))
    # From the end, where the whole answer stands once more: the deltas need not be read.
    ends = (event for event in _iter_decoded(reversed(events)) if event.type in _ENDS)
    if end := next(ends, None):
        facts = read_object(bytes(end.response))
        if facts.usage is None:
            # Some servers write it beside the response.
            facts = read_events(events)
        reading = _read_whole(bytes(end.response), facts, is_complete=is_complete)
        if reading.usage or reading.written_bytes:
            return reading
        # What failed or was canceled may repeat nothing of what it wrote.
        return msgspec.structs.replace(reading, written_bytes=_read_cut(events).written_bytes)
    return _read_cut(events)


def ends_complete(tail: bytes) -> bool:
    """Return whether `tail`, the last bytes of a stream, marks its end: the whole response, or an error.

    `tail` may begin inside an event.
    """
    return any(event.type in _ENDS or event.type == "error" for event in _iter_readable(tail))


def error_event(tail: bytes, message: str, kind: str, code: str | None) -> bytes:
    """Return the event that ends a broken stream; `tail` are the stream's last whole events.

    The reference has its fields at the top, but OpenAI sends them under `error`, and its clients
    raise that.
    """
    numbers = [event.sequence_number for event in _iter_readable(tail)]
    number = max((number for number in numbers if isinstance(number, int)), default=-1) + 1
    error = error_value(message, kind, None, code)
    event = {"type": "error", "code": code, "message": message, "param": None, **error}
    return b"event: error\ndata: %b\n\n" % msgspec.json.encode({**event, "sequence_number": number})


def _read_cut(events: list[bytes]) -> Reading:
    """Return what a stream without its end says: the text so far, and how much else was written."""
    deltas = [event for event in _iter_decoded(events) if event.type.endswith(".delta")]
    words = [event.delta for event in deltas if event.type == "response.output_text.delta"]
    reading = _with_facts(Reading(text="".join(str(word) for word in words) or None), read_events(events))
    written = sum(count_written_bytes(event.delta) for event in deltas)
    return msgspec.structs.replace(reading, written_bytes=written)


def _iter_readable(tail: bytes) -> Iterator[_StreamEvent]:
    return _iter_decoded(iter_events(tail))


def _iter_decoded(events: Iterable[bytes]) -> Iterator[_StreamEvent]:
    for event in events:
        try:
            yield _events.decode(event)
        except (ValueError, RecursionError):
            continue


def _read_whole(content: bytes, facts: BillingFacts, *, is_complete: bool) -> Reading:
    try:
        response = _responses.decode(content)
    except (ValueError, RecursionError):
        # A body that is cut counts as it is; an error page is no answer.
        written = len(content) if b'"output"' in content else 0
        return _with_facts(Reading(text=None, written_bytes=written), facts)
    text, has_calls = _read_text(_read_output(response.output))
    reason = _finish_reason(response, has_calls=has_calls)
    if text is not None:
        written_bytes = utf8_bytes(text)
    else:
        written_bytes = _count_written(response.output) if facts.usage is None else 0
    reading = Reading(
        text=text if reason else None,
        finish_reason=reason,
        is_complete=is_complete and bool(reason),
        written_bytes=written_bytes,
    )
    return _with_facts(reading, facts)


def _with_facts(reading: Reading, facts: BillingFacts) -> Reading:
    return msgspec.structs.replace(
        reading,
        model=facts.model,
        usage=facts.usage,
        service_tier=facts.service_tier,
        id=facts.id,
        status=facts.status,
    )


def _count_written(output: msgspec.Raw) -> int:
    try:
        return count_written_bytes(_values.decode(output))
    except (ValueError, RecursionError):
        return 0


def _finish_reason(response: _ResponseObject, *, has_calls: bool) -> str:
    """Return the end in the chat API's words; empty if the answer is not finished."""
    if response.status == "completed":
        return "tool_calls" if has_calls else "stop"
    if response.status != "incomplete":
        return ""
    reason = (response.incomplete_details or _IncompleteDetails()).reason or "incomplete"
    return _FINISH_REASONS.get(reason, reason)


def _read_text(output: list[_OutputItem]) -> tuple[str | None, bool]:
    """Return the one message or the calls as text, None for anything else, and whether calls were made."""
    # Reasoning items are not training data.
    items = [item for item in output if item.type != "reasoning"]
    calls = [item for item in items if item.type == "function_call"]
    if not calls:
        is_message = len(items) == 1 and items[0].type == "message"
        return (_message_text(items[0]) if is_message else None), False
    made = [make_tool_call(item.name or "", item.arguments or "{}") for item in calls]
    sound = [call for call in made if call]
    # Words beside calls are neither a text nor plain calls.
    is_plain = len(sound) == len(items)
    return (render_tool_calls(sound) if is_plain else None), True


def _message_text(message: _OutputItem) -> str | None:
    parts = message.content or []
    if not parts or any(part.type != "output_text" or part.text is None for part in parts):
        return None
    return "".join(part.text or "" for part in parts)


def _read_output(output: msgspec.Raw) -> list[_OutputItem]:
    try:
        return _outputs.decode(output) or []
    except (ValueError, RecursionError):
        # Items of a kind that we have never seen; the tokens are there to be counted all the same.
        return []
