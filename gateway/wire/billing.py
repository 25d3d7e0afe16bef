"""What an answer of any endpoint says about its price: model, tier, usage, and the id to ask for it again."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from gateway.core import Excerpt, Usage
from gateway.wire.long_answer import LongAnswer
from gateway.wire.sse import DONE, iter_events
from gateway.wire.usage import count_tool_calls, read_usage

_NOTHING = msgspec.Raw(b"null")
# Where the answer itself stands within an event: the Responses and realtime APIs, Anthropic's, Groq's.
# Moonshot writes the usage of a stream into its last choice.
_INNER = ("response", "message", "x_groq")
_KEYS_OF_USAGE = frozenset({"prompt_tokens", "input_tokens", "completion_tokens", "output_tokens"})


class BillingFacts(msgspec.Struct, frozen=True):
    """What an answer says; empty where it says nothing readable."""

    usage: Usage | None = None
    model: str = ""
    service_tier: str = ""
    id: str = ""
    status: str = ""
    output_file: str = ""


class _Envelope(msgspec.Struct):
    """The top of an answer or an event. Raw, so that an odd value in one field loses only that."""

    id: msgspec.Raw = _NOTHING
    model: msgspec.Raw = _NOTHING
    service_tier: msgspec.Raw = _NOTHING
    usage: msgspec.Raw = _NOTHING
    status: msgspec.Raw = _NOTHING
    output: msgspec.Raw = _NOTHING
    output_file_id: msgspec.Raw = _NOTHING
    response: msgspec.Raw = _NOTHING
    message: msgspec.Raw = _NOTHING
    x_groq: msgspec.Raw = _NOTHING
    choices: msgspec.Raw = _NOTHING
    body: msgspec.Raw = _NOTHING


class _Choice(msgspec.Struct):
    usage: msgspec.Raw = _NOTHING


_envelopes = msgspec.json.Decoder(_Envelope)
_choices = msgspec.json.Decoder(list[_Choice])
_values = msgspec.json.Decoder()


def read_billing(content: bytes, *, is_event_stream: bool) -> BillingFacts:
    """Return what an answer says, given without its content-encoding; never raises."""
    return read_events(list(iter_events(content))) if is_event_stream else read_object(content)


def read_object(content: bytes) -> BillingFacts:
    """Return what one JSON object says, also if it is cut or damaged; never raises."""
    envelope = _decode_envelope(content)
    if envelope is not None:
        return _facts_of(envelope)
    answer = LongAnswer("")
    answer.take(content)
    return read_excerpt(answer.excerpt())


def read_events(events: list[bytes]) -> BillingFacts:
    """Return what the events of a stream say, the last word of each fact; never raises.

    Usage may come in parts (Anthropic's prompt at the beginning, its answer at the end).
    """
    usage: dict[str, Any] = {}
    facts = BillingFacts()
    for event in reversed(events):
        # Chunks without usage say nothing new: only one of them is read, for the model.
        if event == DONE or (facts.model and b'"usage"' not in event):
            continue
        envelope = _decode_envelope(event)
        if envelope is None:
            continue
        facts = _first_of(facts, _facts_of(envelope))
        usage = {**_usage_values(envelope), **usage}
        if facts.model and _is_whole(usage):
            break
    return msgspec.structs.replace(facts, usage=_with_tools(read_usage(usage), facts.usage))


def read_lines(content: bytes) -> list[BillingFacts]:
    """Return what each line of a batch's output says about its answer; never raises."""
    found = []
    for line in content.splitlines():
        envelope = _decode_envelope(line)
        inner = _decode_envelope(envelope.response) if envelope else None
        if inner is not None:
            found.append(read_object(bytes(inner.body)))
    return found


def read_excerpt(excerpt: Excerpt) -> BillingFacts:
    """Return what is left of an answer too long to be kept; never raises."""
    usage: dict[str, Any] = {}
    for place in excerpt.usages:
        usage |= _scan_object(place)
    return BillingFacts(
        usage=read_usage(usage),
        model=_scan_string(excerpt.head, b"model") or _scan_string(excerpt.tail, b"model"),
        service_tier=_scan_string(excerpt.tail, b"service_tier", last=True)
        or _scan_string(excerpt.head, b"service_tier"),
        id=_scan_string(excerpt.head, b"id"),
        status=_scan_string(excerpt.head, b"status"),
    )


def _facts_of(envelope: _Envelope) -> BillingFacts:
    inner = next((raw for name in _INNER if (raw := getattr(envelope, name)) is not _NOTHING), None)
    if inner is not None and (found := _decode_envelope(inner)) is not None:
        own = BillingFacts(_read_raw_usage(envelope), _string(envelope.model), _string(envelope.service_tier))
        return _first_of(_facts_of_plain(found), own)
    return _facts_of_plain(envelope)


def _facts_of_plain(envelope: _Envelope) -> BillingFacts:
    usage = _read_raw_usage(envelope)
    if usage is not None and b"_call" in bytes(envelope.output):
        usage = msgspec.structs.replace(usage, **count_tool_calls(_decode_value(envelope.output)))
    return BillingFacts(
        usage,
        _string(envelope.model),
        _string(envelope.service_tier),
        _string(envelope.id),
        _string(envelope.status),
        _string(envelope.output_file_id),
    )


def _first_of(facts: BillingFacts, others: BillingFacts) -> BillingFacts:
    """Return `facts`, with those of `others` where it has none."""
    return BillingFacts(
        facts.usage or others.usage,
        facts.model or others.model,
        facts.service_tier or others.service_tier,
        facts.id or others.id,
        facts.status or others.status,
        facts.output_file or others.output_file,
    )


def _with_tools(usage: Usage | None, found: Usage | None) -> Usage | None:
    if usage is None or found is None or not (found.web_searches or found.file_searches or found.containers):
        return usage
    return msgspec.structs.replace(
        usage,
        web_searches=found.web_searches,
        file_searches=found.file_searches,
        containers=found.containers,
    )


def _usage_values(envelope: _Envelope) -> Mapping[str, Any]:
    """Return the fields of an event's usage that say something, its own or that of what it holds."""
    values = _decode_value(_usage_of(envelope))
    if not isinstance(values, dict):
        inner = next((raw for name in _INNER if (raw := getattr(envelope, name)) is not _NOTHING), None)
        within = _decode_envelope(inner) if inner is not None else None
        values = _decode_value(within.usage) if within is not None else None
    # A last chunk of zeros alone says nothing, and must not hide what an earlier one said.
    if not isinstance(values, dict) or not any(values.values()):
        return {}
    return {name: value for name, value in values.items() if value is not None}


def _is_whole(usage: Mapping[str, Any]) -> bool:
    return len(_KEYS_OF_USAGE & usage.keys()) >= 2 or "seconds" in usage or "total_tokens" in usage


def _read_raw_usage(envelope: _Envelope) -> Usage | None:
    raw = _usage_of(envelope)
    return None if raw is _NOTHING else read_usage(_decode_value(raw))


def _usage_of(envelope: _Envelope) -> msgspec.Raw:
    if envelope.usage is not _NOTHING or envelope.choices is _NOTHING:
        return envelope.usage
    try:
        choices = _choices.decode(envelope.choices)
    except (ValueError, RecursionError):
        return _NOTHING
    return next((choice.usage for choice in choices if choice.usage is not _NOTHING), _NOTHING)


def _decode_envelope(content: bytes | msgspec.Raw) -> _Envelope | None:
    try:
        return _envelopes.decode(content)
    except (ValueError, RecursionError):
        return None


def _decode_value(raw: msgspec.Raw) -> object:
    if raw is _NOTHING:
        return None
    try:
        return _values.decode(raw)
    except (ValueError, RecursionError):
        return None


def _string(raw: msgspec.Raw) -> str:
    value = _decode_value(raw)
    return value if isinstance(value, str) else ""


def _scan_string(text: bytes, key: bytes, *, last: bool = False) -> str:
    """Return the first or last string under `key` in JSON that may be cut.

    Inside a string every quote is escaped: what looks like a key is one.
    """
    found = re.findall(rb'"%b"\s*:\s*("(?:[^"\\]|\\.){0,200}")' % key, text)
    value = _decode_value(msgspec.Raw(found[-1 if last else 0])) if found else None
    return value if isinstance(value, str) else ""


def _scan_object(place: bytes) -> dict[str, Any]:
    """Return the object that follows the key at the beginning of `place`; empty if it is not whole."""
    _, _, rest = place.partition(b":")
    try:
        value, _ = json.JSONDecoder().raw_decode(rest.decode(errors="replace").lstrip())
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) and _says_tokens(value) else {}


def _says_tokens(values: Iterable[str]) -> bool:
    return bool({*_KEYS_OF_USAGE, "total_tokens", "seconds"} & set(values))
