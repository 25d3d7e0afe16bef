"""The ids of objects that the teacher keeps: those that a request names, those that an answer makes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from gateway.errors import RequestError
from gateway.wire.body import has_escaped_letter
from gateway.wire.sse import iter_events

_ID_FIELDS = frozenset(
    {
        "assistant_id", "batch_id", "comparison_response_id", "completion_id", "container_id",
        "conversation_id", "eval_id", "file_id", "fine_tuning_job_id", "image_file_id", "input_file_id",
        "previous_response_id", "prompt_id", "response_id", "thread_id", "training_file", "upload_id",
        "validation_file", "vector_store_id", "video_id",
    }
)  # fmt: skip
# In a body a call is one of a tool; in a query it is someone's conversation, to be joined.
_QUERY_FIELDS = _ID_FIELDS | {"call_id"}
_LIST_FIELDS = frozenset({"file_ids", "vector_store_ids"})
# An id, or an object that holds it.
_OBJECT_FIELDS = frozenset({"conversation", "container", "prompt", "video", "character"})
_OBJECT_LISTS = frozenset({"characters"})
# Objects with an `id` that names something that the teacher has: an item of an answer, an eval's file.
_REFERENCES = frozenset({"file_id", "item_reference"})
# Items of `input` that the teacher looks up by their id where they come without what they hold.
_ITEMS_BY_ID = frozenset({None, "", "image_generation_call", "reasoning"})
_HELD = frozenset({"content", "encrypted_content", "result", "role"})
_ACCOUNT_SOURCES = frozenset({"responses", "stored_completions"})
_NAMING_FIELDS = _ID_FIELDS | _LIST_FIELDS | _OBJECT_FIELDS | _OBJECT_LISTS
# The client's own words, which the teacher does not look up; citations are an answer's, sent back.
_OWN_WORDS = frozenset({"annotations", "metadata", "parameters", "schema"})
# Whether a body is worth parsing: most name no object at all. `\\u00` may hide a field's name, or be an é.
_MARKS = tuple(b'"%b"' % name.encode() for name in sorted(_NAMING_FIELDS | _REFERENCES) if "_id" not in name)
_ID_MARKS = tuple(b'"%b"' % name.encode() for name in sorted(_NAMING_FIELDS | _REFERENCES) if "_id" in name)
_HIDDEN = b"\\u00"


class _AllFields(list[tuple[str, Any]]):
    """The fields of a JSON object, all of them."""


class MadeObject(msgspec.Struct, frozen=True):
    """An object that an answer of the teacher has made, or has a new one of."""

    kind: str
    id: str


class _TopLevel(msgspec.Struct):
    """What stands at the top of an answer, or of one event of a stream. Never look deeper: `metadata`
    repeats what the client has written."""

    id: Any = None
    object: Any = None
    response: Any = None
    item: Any = None
    output: Any = None
    store: Any = None
    data: Any = None
    file: Any = None
    output_file_id: Any = None
    error_file_id: Any = None
    result_files: Any = None
    thread_id: Any = None


_answers = msgspec.json.Decoder(_TopLevel)


def find_object_ids(body: bytes, *, is_realtime: bool = False) -> tuple[str, ...]:
    """Return the ids that a JSON body names, wherever they stand; empty if it is no JSON.

    Of an event of the realtime API without its items and responses: they are in its session alone, whose
    client may choose the ids of items itself. Raises RequestError if it is nested too deeply to be read.
    250 us for a body of 10 KB that names some, 50 us for one that names none.
    """
    if not may_name_objects(body):
        return ()
    try:
        fields = _read_fields(body)
        if is_realtime and isinstance(fields, _AllFields):
            fields = _without_session_ids(fields)
        return tuple(dict.fromkeys(_walk(fields)))
    except RecursionError as exc:
        raise RequestError("The JSON body of your request is nested too deeply.") from exc


def reads_whole_account(body: bytes) -> bool:
    """Return whether an eval's run takes its data from all answers that the account has stored."""
    try:
        return any(_find_sources(_read_fields(body)))
    except RecursionError:
        return True


def find_ids_of_query(target: bytes) -> tuple[str, ...]:
    """Return the ids that a query names."""
    query = target.partition(b"?")[2].decode("latin-1")
    return tuple(value for name, value in parse_qsl(query) if name in _QUERY_FIELDS)


def may_name_objects(body: bytes) -> bool:
    """Return whether a body is worth looking for ids: its names alone tell."""
    # One regular expression for all names takes twice as long.
    low = body.lower()
    return (
        (_HIDDEN in low and has_escaped_letter(body))
        or (b'"input"' in low and b'"id"' in low)
        or any(mark in low for mark in _MARKS)
        or (b"_id" in low and any(mark in low for mark in _ID_MARKS))
    )


def may_name_object(name: str) -> bool:
    """Return whether a form's field of that name, such as `input_reference[file_id]`, may hold an id."""
    words = _words_of(name)
    return words != ["prompt"] and not _NAMING_FIELDS.isdisjoint(words)


def find_ids_of_field(name: str, value: str) -> tuple[str, ...]:
    """Return the ids that a form's field names, in words or as JSON."""
    field: Any = value
    if value.lstrip().startswith(("{", "[")):
        field = _read_fields(value.encode()) or value
    for word in reversed(_words_of(name)):
        field = _AllFields([(word, field)])
    return tuple(dict.fromkeys(_walk(field)))


def read_made_objects(answer: bytes, kind: str) -> tuple[MadeObject, ...]:
    """Return the objects of a whole JSON answer, the first of the `kind` that its endpoint makes.

    With the kind "item", those of a list. Besides it: the items of a stored response, the file of a
    completed upload, the files of a batch and of a fine-tuning job, the thread of a run, and the
    containers in which an answer of the Responses API has run code.
    """
    try:
        found = _answers.decode(answer)
    except (ValueError, RecursionError):
        return ()
    return tuple(_made_by(found, kind))


def read_objects_of_events(events: bytes, kind: str) -> tuple[MadeObject, ...]:
    """Return the objects of some whole events of a stream."""
    made: list[MadeObject] = []
    for event in iter_events(events):
        if b'"id"' in event or b'"container_id"' in event:
            made += read_made_objects(event, kind)
    return tuple(made)


def _read_fields(body: bytes) -> Any:
    """Return JSON with both values of a field that is given twice: a teacher may take either."""
    try:
        # Numbers stay text: Python refuses an integer of 5,000 digits, and others do not.
        return json.loads(body, object_pairs_hook=_read_object, parse_int=str, parse_float=str)
    except ValueError:
        return None


def _find_sources(value: Any) -> Iterator[bool]:
    if isinstance(value, _AllFields):
        for name, field in value:
            if name == "source" and isinstance(field, _AllFields):
                yield not _ACCOUNT_SOURCES.isdisjoint(_types_of(field))
            yield from _find_sources(field)
    elif isinstance(value, list):
        for item in value:
            yield from _find_sources(item)


def _read_object(pairs: list[tuple[str, Any]]) -> _AllFields:
    # Servers that are written in Go take `File_ID` for `file_id` (encoding/json, "case-insensitive match").
    return _AllFields([(name.lower(), value) for name, value in pairs])


def _without_session_ids(event: _AllFields) -> _AllFields:
    return _AllFields([(name, _leave_out(name, field)) for name, field in event if name != "response_id"])


def _leave_out(name: str, field: Any) -> Any:
    """Return a field of an event, or of its response, without what names a part of the session."""
    if name == "response" and isinstance(field, _AllFields):
        return _AllFields([(inner, _leave_out(inner, value)) for inner, value in field])
    if name == "input" and _is_list(field):
        return [_without_id(item) for item in field]
    if name == "conversation" and field in ("auto", "none"):
        return None
    return _without_id(field) if name == "item" else field


def _without_id(item: Any) -> Any:
    if not isinstance(item, _AllFields):
        return item
    return _AllFields([(name, field) for name, field in item if name != "id"])


def _words_of(name: str) -> list[str]:
    """Return the words of a form's name, `["file_ids"]` for `file_ids[0]`."""
    return [word for word in re.split(r"[\[\].]+", name.lower()) if word and not word.isdigit()]


def _walk(value: Any, own_words: frozenset[str] = _OWN_WORDS) -> Iterator[str]:
    if isinstance(value, _AllFields):
        if not _REFERENCES.isdisjoint(_types_of(value)):
            yield from _own_ids(value)
        for name, field in value:
            if name not in own_words:
                yield from _ids_of(name, field)
                # A prompt's variables may have any name, and hold files.
                yield from _walk(field, frozenset() if name == "variables" else _OWN_WORDS)
    elif isinstance(value, list):
        for item in value:
            yield from _walk(item, own_words)


def _ids_of(name: str, field: Any) -> Iterator[str]:
    if name in _ID_FIELDS or name in _LIST_FIELDS:
        # A teacher may take one id for a list of one.
        yield from (one for one in (field if _is_list(field) else [field]) if isinstance(one, str))
    elif name in _OBJECT_FIELDS:
        # A prompt of words is no id, as `container: {"type": "auto"}` has none.
        if isinstance(field, str) and name != "prompt":
            yield field
        yield from _own_ids(field)
    elif name in _OBJECT_LISTS and _is_list(field):
        for one in field:
            yield from _own_ids(one)
    elif name == "input" and _is_list(field):
        for item in field:
            if isinstance(item, _AllFields) and _is_looked_up(item):
                yield from _own_ids(item)


def _types_of(fields: _AllFields) -> set[str | None]:
    return {value for name, value in fields if name == "type" and isinstance(value, str | None)} or {None}


def _is_looked_up(item: _AllFields) -> bool:
    holds_its_own = any(name in _HELD and value for name, value in item)
    return not holds_its_own and not _ITEMS_BY_ID.isdisjoint(_types_of(item))


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and not isinstance(value, _AllFields)


def _own_ids(value: Any) -> Iterator[str]:
    if isinstance(value, _AllFields):
        yield from (field for name, field in value if name == "id" and isinstance(field, str))


def _made_by(answer: _TopLevel, kind: str) -> Iterator[MadeObject]:
    response = answer.response if isinstance(answer.response, dict) else {}
    for value in (answer.id, response.get("id")):
        # An event of a stream may carry an id of its own: those of objects stand beside `object`.
        if isinstance(value, str) and kind and (answer.object is not None or response):
            yield MadeObject(kind, value)
            break
    if isinstance(answer.file, dict) and isinstance(answer.file.get("id"), str):
        yield MadeObject("file", answer.file["id"])
    for value in (answer.output_file_id, answer.error_file_id, *_list_of(answer.result_files)):
        if isinstance(value, str):
            yield MadeObject("file", value)
    if isinstance(answer.thread_id, str):
        yield MadeObject("thread", answer.thread_id)
    output = _list_of(answer.output) or _list_of(response.get("output"))
    is_stored = kind == "response" or True in (answer.store, response.get("store"))
    for item in (output if is_stored else []) + (_list_of(answer.data) if kind == "item" else []):
        if isinstance(item, dict) and isinstance(item.get("id"), str):
            yield MadeObject("item", item["id"])
    for item in [answer.item, *output]:
        has_run_code = isinstance(item, dict) and item.get("type") == "code_interpreter_call"
        if has_run_code and isinstance(item.get("container_id"), str):
            yield MadeObject("container", item["container_id"])


def _list_of(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
