"""The JSON body of a request, decoded once, with complaints in OpenAI's words."""

from __future__ import annotations

import json
from collections import Counter
from typing import TypeVar

import msgspec

from gateway.errors import RequestError

Fields = dict[str, msgspec.Raw]
_Known = TypeVar("_Known")

_ABSENT = msgspec.Raw()
_fields = msgspec.json.Decoder(Fields)


def read_body(
    body: bytes, decoder: msgspec.json.Decoder[_Known], judged: tuple[bytes, ...]
) -> tuple[_Known, Fields]:
    """Return the fields which `decoder` knows, and the bytes of each top-level field.

    `judged` are the names, in quotes, which must not stand there twice. Raises RequestError
    naming the `param` for whatever OpenAI would refuse as malformed.
    """
    try:
        # msgspec does not look into strings which it skips; the teacher would.
        body.isascii() or body.decode()
        known, fields = decoder.decode(body), _fields.decode(body)
        _refuse_duplicates(body, judged)
    except UnicodeDecodeError as fault:
        raise _unreadable(f"it is not valid UTF-8 at byte {fault.start}") from fault
    except RecursionError as fault:
        raise _unreadable("it is nested too deeply") from fault
    except msgspec.ValidationError as fault:
        raise _mistyped(str(fault)) from fault
    except msgspec.DecodeError as fault:
        raise _unreadable(str(fault)) from fault
    return known, fields


def given(fields: Fields, name: str) -> bytes:
    """Return the JSON of a field, empty where the client gave none or null."""
    value = bytes(fields.get(name, _ABSENT))
    return b"" if value == b"null" else value


def unsupported_field(fields: Fields, honored: frozenset[str], known: frozenset[str] = frozenset()) -> str:
    """Return the first field by name, null ones left out, that is not in `honored`; empty if none is.

    A name that is not `known` is returned as "unknown field": a name of the client's own invention
    must not become a metric's label or a header. Sorted, because the order of a set differs from one
    process to the next, and one request must have one reason in all of them.
    """
    if fields.keys() <= honored:
        return ""
    for name in sorted(fields.keys() - honored):
        if given(fields, name):
            return name if name in known else "unknown field"
    return ""


def _refuse_duplicates(body: bytes, judged: tuple[bytes, ...]) -> None:
    """Refuse a field given twice: we would judge one value and the teacher answer the other.

    Nearly every body is cleared by counting; `\\u00` may hide a key such as `mod\\u0065l`.
    """
    if b"\\u00" not in body and all(body.count(name) <= 1 for name in judged):
        return
    pairs = json.loads(body, object_pairs_hook=list, parse_int=str, parse_float=str)
    for name, count in Counter(name for name, _ in pairs).items():
        if count > 1:
            shown = name[:100]
            raise RequestError(f"Duplicate parameter: '{shown}'.", param=shown, code="duplicate_parameter")


def _unreadable(why: str) -> RequestError:
    return RequestError(f"We could not parse the JSON body of your request: {why}.")


def _mistyped(complaint: str) -> RequestError:
    """Return msgspec's complaint ("Expected `str`, got `int` - at `$.model`") in OpenAI's words."""
    problem, _, place = complaint.partition(" - at `$")
    param = place.rstrip("`").removeprefix(".")
    if problem.startswith("Object missing required field"):
        name = problem.split("`")[1]
        param = f"{param}.{name}" if param else name
        code, message = "missing_required_parameter", f"Missing required parameter: '{param}'."
    elif param:
        detail = problem[:1].lower() + problem[1:].replace("`", "")
        code, message = "invalid_type", f"Invalid type for '{param}': {detail}."
    else:
        return _unreadable(problem.replace("`", ""))
    return RequestError(message, param=param, code=code)
