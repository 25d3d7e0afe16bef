"""OpenAI's events in a websocket: of the realtime API, and of the Responses API in its websocket mode."""

from __future__ import annotations

import re

import msgspec

from gateway.core import Excerpt
from gateway.errors import RequestError
from gateway.wire.body import get_field, read_body
from gateway.wire.errors import error_value
from gateway.wire.websocket.messages import Message
from gateway.wire.websocket.sound import count_encoded_bytes, read_sound_format

CREATE = "response.create"
"""The client's word for: answer now."""
CREATED = "response.created"
ENDS = frozenset({"response.done", "response.completed", "response.incomplete", "response.failed"})
TRANSCRIBED = "conversation.item.input_audio_transcription.completed"
SESSIONS = frozenset(
    {"session.created", "session.updated"}
    | {"transcription_session.created", "transcription_session.updated"}
)
ITEM_DONE = "response.output_item.done"

_NOTHING = msgspec.Raw(b"null")
# The older and the newer name of what is spoken; of its transcript the name ends otherwise.
_SOUND = "audio.delta"
# A later `type` may belong to what an event holds.
_TYPE = re.compile(rb'"type"\s*:\s*"([a-z_.]{1,100})"')
_ID = re.compile(rb'"id"\s*:\s*"([^"\\]{1,200})"')


class ClientEvent(msgspec.Struct, frozen=True):
    """What the gateway must know of an event before the teacher gets it."""

    type: str
    event_id: str | None = None
    models: tuple[str, ...] = ()
    """Every model that it names: to answer, or to write down what was said."""
    model: str = ""
    """The one that is to answer; empty if it names none."""
    response: bytes = b""
    """What it says of the response that it asks for, where that stands apart."""


class ServerEvent(msgspec.Struct, frozen=True):
    """What one of the teacher's events says about who is to pay for what; empty where it says nothing."""

    type: str
    response_id: str = ""
    model: str = ""
    transcriber: str = ""
    delta: bytes = b""
    """The next words of a response, as JSON."""
    sound_bytes: int = 0
    """The size of the next sound of a response."""
    sound_format: str = ""
    """The format of the sounds that follow."""
    is_stored: bool = True
    """Whether the teacher keeps the response."""
    cause: str | None = None
    """The id of the client's event that an error is about."""
    item_id: str = ""
    """The id of an item of an answer that is whole."""


class _Named(msgspec.Struct):
    """Whatever may name a model."""

    id: str | None = None
    model: str | None = None
    store: msgspec.Raw = _NOTHING
    audio: msgspec.Raw = _NOTHING
    input: msgspec.Raw = _NOTHING
    transcription: msgspec.Raw = _NOTHING
    input_audio_transcription: msgspec.Raw = _NOTHING


class _ClientFields(msgspec.Struct):
    type: str = ""
    event_id: str | None = None
    model: str | None = None
    session: msgspec.Raw = _NOTHING
    response: msgspec.Raw = _NOTHING


class _ServerFields(msgspec.Struct):
    type: str = ""
    response: msgspec.Raw = _NOTHING
    session: msgspec.Raw = _NOTHING
    error: msgspec.Raw = _NOTHING
    item: msgspec.Raw = _NOTHING
    delta: msgspec.Raw = _NOTHING
    response_id: msgspec.Raw = _NOTHING
    item_id: msgspec.Raw = _NOTHING
    content_index: msgspec.Raw = _NOTHING


class _EventNames(msgspec.Struct):
    event_id: str | None = None
    previous_response_id: str | None = None


class _Error(msgspec.Struct):
    event_id: str | None = None


_client_fields = msgspec.json.Decoder(_ClientFields)
_server_fields = msgspec.json.Decoder(_ServerFields)
_named = msgspec.json.Decoder(_Named)
_names = msgspec.json.Decoder(_EventNames)
_errors = msgspec.json.Decoder(_Error)
# In small letters; an escape may hide them. The search for one byte is five hundred times as fast as for two.
_TELLING = (b"\\", CREATE.encode(), b"model")
_UNIQUE = (b'"type"', b'"model"', b'"session"', b'"response"')
# Names in a session on the way to the model that writes down what the client said.
_INNER = ("audio", "input", "transcription", "input_audio_transcription")


def read_client_event(content: bytes) -> ClientEvent:
    """Return the event in a client's message.

    Raises RequestError for what is none, or can be read in two ways. What can neither name a model nor ask
    for a response is not read, as most of what is said is sound: its type is empty.
    """
    lowered = content.lower()
    if not any(word in lowered for word in _TELLING):
        return ClientEvent("")
    fields, raw = read_body(content, _client_fields, _UNIQUE)
    named = [fields.model]
    found = fields.model or ""
    for name in ("session", "response"):
        if inner := get_field(raw, name):
            models = _read_models(inner)
            named += models
            found = found or models[0] or ""
    return ClientEvent(
        fields.type,
        fields.event_id,
        tuple(dict.fromkeys(model for model in named if model)),
        found,
        get_field(raw, "response"),
    )


def read_server_event(message: Message) -> ServerEvent | None:
    """Return the event in one of the teacher's messages; None if it is none. Never raises."""
    if message.excerpt is not None:
        return _scan_event(message.excerpt)
    try:
        fields = _server_fields.decode(message.content)
    except (ValueError, RecursionError):
        return None
    if fields.type in SESSIONS:
        return _read_session(fields)
    if fields.type == TRANSCRIBED:
        return ServerEvent(fields.type, bytes(fields.item_id).decode() + bytes(fields.content_index).decode())
    return _read_response(fields) if fields.response is not _NOTHING else _read_other(fields)


def find_previous_response(content: bytes) -> str:
    """Return the id of the response that a client's message continues; empty without one."""
    return _find_names(content).previous_response_id or ""


def find_event_id(content: bytes) -> str | None:
    """Return the client's own name for its message, if it gave it one."""
    return _find_names(content).event_id


def render_error(exc: RequestError, unique: str, event_id: str | None) -> bytes:
    """Return the event that reports `exc`; `event_id` is that of the client's event, if it had one.

    The realtime API has the fields under `error`, the Responses API also at the top.
    """
    code = exc.code or "invalid_request"
    error = error_value(str(exc), exc.kind, exc.param, code)["error"]
    assert isinstance(error, dict)
    return msgspec.json.encode(
        {
            "type": "error",
            "event_id": f"event_{unique}",
            "status": exc.status,
            "code": code,
            "message": str(exc),
            "param": exc.param,
            "sequence_number": 0,
            "error": {**error, "event_id": event_id},
        }
    )


def _read_models(content: bytes) -> list[str | None]:
    """Return the model of a session or response, then those that it names for transcription."""
    named, _ = read_body(content, _named, (b'"model"', *(b'"%b"' % name.encode() for name in _INNER)))
    models = [named.model]
    for name in _INNER:
        inner = getattr(named, name)
        # An `input` is a list where it is no setting: what was said.
        if inner is not _NOTHING and bytes(inner)[:1] == b"{":
            models += _read_models(bytes(inner))
    return models


def _read_session(fields: _ServerFields) -> ServerEvent:
    model, *transcribers = _try_read_models(fields.session)
    return ServerEvent(
        fields.type,
        model=model or "",
        transcriber=next((one for one in transcribers if one), ""),
        sound_format=read_sound_format(fields.session),
    )


def _read_response(fields: _ServerFields) -> ServerEvent:
    response = _try_read_named(fields.response)
    return ServerEvent(
        fields.type,
        response.id or "",
        response.model or "",
        sound_format=read_sound_format(fields.response),
        is_stored=bytes(response.store) != b"false",
    )


def _read_other(fields: _ServerFields) -> ServerEvent:
    response_id, delta = _read_string(fields.response_id), bytes(fields.delta)
    if fields.type == "error":
        return ServerEvent(fields.type, cause=_read_cause(fields.error))
    if fields.type == ITEM_DONE:
        return ServerEvent(fields.type, item_id=_try_read_named(fields.item).id or "")
    if fields.type.endswith(_SOUND):
        return ServerEvent(fields.type, response_id, sound_bytes=count_encoded_bytes(delta))
    # What the client said is written down in deltas, too.
    is_written = fields.type.startswith("response.") and fields.type.endswith(".delta")
    return ServerEvent(fields.type, response_id, delta=delta if is_written else b"")


def _find_names(content: bytes) -> _EventNames:
    try:
        return _names.decode(content)
    except (ValueError, RecursionError):
        return _EventNames()


def _try_read_models(content: msgspec.Raw) -> list[str | None]:
    try:
        return _read_models(bytes(content))
    except RequestError:
        return [None]


def _try_read_named(content: msgspec.Raw) -> _Named:
    try:
        return _named.decode(content)
    except (ValueError, RecursionError):
        return _Named()


def _scan_event(excerpt: Excerpt) -> ServerEvent | None:
    """Return what the first bytes of a very long event say."""
    kind, found = _TYPE.search(excerpt.head), _ID.search(excerpt.head)
    if kind is None:
        return None
    name = kind[1].decode()
    if name.endswith(_SOUND):
        return ServerEvent(name, sound_bytes=excerpt.size_bytes * 3 // 4)
    return ServerEvent(name, found[1].decode(errors="replace") if found else "")


def _read_cause(error: msgspec.Raw) -> str | None:
    try:
        return _errors.decode(error).event_id
    except (ValueError, RecursionError):
        return None


def _read_string(raw: msgspec.Raw) -> str:
    try:
        return msgspec.json.decode(raw, type=str)
    except (ValueError, RecursionError):
        return ""
