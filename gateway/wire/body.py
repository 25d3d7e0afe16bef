"""The JSON body of a request, decoded once, with complaints in OpenAI's words."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import TypeVar

import msgspec

from gateway.errors import RequestError, UnreadableBodyError
from gateway.wire.large_body import (
    LARGE_BYTES,
    STEP_BYTES,
    check_utf8,
    count_in_steps,
    find_top_names,
    has_match,
    is_long,
    is_text,
)

Integer = int | float
"""A field that holds an integer. `256.0` is one to JSON Schema, and some languages write it so."""
RawFields = dict[str, msgspec.Raw]
"""The top-level fields of a body by name, each as the bytes that the client sent."""

# `mod\u0065l` is `model`. Names are ASCII letters and `_`; `\u00e9` is text, which many libraries write so.
_ESCAPE = b"\\u00"
_ESCAPED_LETTER = re.compile(rb"\\u00[4-7]")

_Fields = TypeVar("_Fields")

_ABSENT = msgspec.Raw()
_raw_fields = msgspec.json.Decoder(RawFields)


def read_body(
    body: bytes,
    decoder: msgspec.json.Decoder[_Fields],
    unique: tuple[bytes, ...],
    apart: tuple[str, ...] = (),
) -> tuple[_Fields, RawFields]:
    """Return the fields that `decoder` knows, and the bytes of each top-level field.

    `unique` are the names, in quotes, that must not occur twice at the top. With fields `apart`, their lists
    and all long texts of a large body are left empty, for the caller to read in steps. Raises RequestError
    naming the `param` for any body that OpenAI would refuse as malformed: UnreadableBodyError if it is a
    JSON object all the same: another teacher may understand its fields.
    """
    try:
        # msgspec does not look into strings that it skips; the teacher would.
        check_utf8(body)
        raw = _raw_fields.decode(body)
        _refuse_duplicates(body, unique)
        _refuse_other_cases(raw, unique)
        is_apart = apart and len(body) > LARGE_BYTES
        fields = decoder.decode(_without_long(raw, apart) if is_apart else body)
    except UnicodeDecodeError as exc:
        raise _unreadable(f"it is not valid UTF-8 at byte {exc.start}") from exc
    except RecursionError as exc:
        raise _unreadable("it is nested too deeply") from exc
    except msgspec.ValidationError as exc:
        raise mistyped(str(exc)) from exc
    except msgspec.DecodeError as exc:
        raise _unreadable(str(exc)) from exc
    return fields, raw


def read_part(value: msgspec.Raw, decoder: msgspec.json.Decoder[_Fields], place: str) -> _Fields:
    """Return what `decoder` makes of a part of a body; `place` is the part's name. Raises as `read_body`."""
    try:
        return decoder.decode(value)
    except msgspec.ValidationError as exc:
        problem, _, inner = str(exc).partition(" - at `$")
        raise mistyped(f"{problem} - at `$.{place}{inner or '`'}") from exc


def has_escaped_letter(body: bytes) -> bool:
    """Return whether a name of `body` may be written with escapes."""
    # The search for fixed bytes is ten times as fast, and nearly always enough.
    return _ESCAPE in body and has_match(_ESCAPED_LETTER, body, len(b"\\u0041"))


def get_field(raw: RawFields, name: str) -> bytes:
    """Return the JSON of a field, empty if the client left it out or sent null."""
    value = bytes(raw.get(name, _ABSENT))
    return b"" if value == b"null" else value


def to_integer(value: Integer | None, param: str) -> int | None:
    """Return the integer that a field holds. Raises UnreadableBodyError for a fraction."""
    if isinstance(value, float):
        if not value.is_integer():
            raise invalid_type(param, "expected an integer, but got a decimal number instead")
        return int(value)
    return value


def has_float(*values: Integer | None) -> bool:
    """Return whether an integer is written as `256.0`: teachers differ in whether they take it."""
    return float in map(type, values)


def invalid_type(param: str, detail: str) -> UnreadableBodyError:
    """Return the error of a field with a value of a type that OpenAI does not take."""
    return unreadable_field(f"Invalid type for '{param}': {detail}.", param, "invalid_type")


def unreadable_field(message: str, param: str, code: str | None = None) -> UnreadableBodyError:
    """Return the error of a field that we cannot read and that another teacher may understand."""
    return UnreadableBodyError(message, reason="unreadable field", param=param, code=code)


def unsupported_field(raw: RawFields, honored: frozenset[str], known: frozenset[str] = frozenset()) -> str:
    """Return the first field by name, null ones left out, that is not in `honored`; empty if none is.

    A name that is not `known` is returned as "unknown field": a name of the client's own invention
    must not become a metric's label or a header. Sorted, because the order of a set differs from one
    process to the next, and one request must have one reason in all of them.
    """
    if raw.keys() <= honored:
        return ""
    for name in sorted(raw.keys() - honored):
        if get_field(raw, name):
            return name if name in known else "unknown field"
    return ""


def _refuse_duplicates(body: bytes, unique: tuple[bytes, ...]) -> None:
    """Refuse a field that is given twice: we would judge one value and the teacher answer the other.

    Nearly every body is cleared by counting; an escaped letter may hide a key such as `mod\\u0065l`.
    """
    if len(body) <= STEP_BYTES and _ESCAPE not in body:
        # Nearly every body: one step, and no need to ask which letter is escaped.
        if max(map(body.count, unique)) <= 1:
            return
    elif not has_escaped_letter(body) and all(count_in_steps(body, name) <= 1 for name in unique):
        return
    if len(body) > LARGE_BYTES:
        names = [str(json.loads(b'"%b"' % name)) for name in find_top_names(body)]
    else:
        pairs = json.loads(body, object_pairs_hook=list, parse_int=str, parse_float=str)
        names = [name for name, _ in pairs]
    for name, count in Counter(names).items():
        if count > 1:
            shown = name[:100]
            raise RequestError(f"Duplicate parameter: '{shown}'.", param=shown, code="duplicate_parameter")


def _refuse_other_cases(raw: RawFields, unique: tuple[bytes, ...]) -> None:
    """Refuse `Model`: servers that are written in Go take it for `model`, and the last of both wins."""
    for name in raw:
        if not name.islower() and b'"%b"' % name.lower().encode() in unique:
            message = f"Unknown parameter: '{name}'. Did you mean '{name.lower()}'?"
            raise unreadable_field(message, name, "unknown_parameter")


def _unreadable(why: str) -> RequestError:
    return RequestError(f"We could not parse the JSON body of your request: {why}.")


def _without_long(raw: RawFields, apart: tuple[str, ...]) -> bytes:
    """Return a large body again, with empty texts for long ones and empty lists for those `apart`."""
    kept = dict(raw)
    for name, value in raw.items():
        if is_long(value) and is_text(value):
            kept[name] = msgspec.Raw(b'""')
        elif name in apart and bytes(memoryview(value)[:1]) == b"[":
            kept[name] = msgspec.Raw(b"[]")
    return msgspec.json.encode(kept)


def mistyped(complaint: str) -> RequestError:
    """Return msgspec's complaint ("Expected `str`, got `int` - at `$.model`") in OpenAI's words."""
    problem, _, place = complaint.partition(" - at `$")
    param = place.rstrip("`").removeprefix(".")
    if problem.startswith("Object missing required field"):
        name = problem.split("`")[1]
        param = f"{param}.{name}" if param else name
        return unreadable_field(
            f"Missing required parameter: '{param}'.", param, "missing_required_parameter"
        )
    if param:
        return invalid_type(param, problem[:1].lower() + problem[1:].replace("`", ""))
    return _unreadable(problem.replace("`", ""))
