"""Embeddings as OpenAI's API has them: the request, and the answer from vectors of our own."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from typing import Literal

import msgspec

from gateway.core import OWN_PREFIX, IncomingRequest, Message, Request
from gateway.errors import RequestError
from gateway.wire.body import Fields, read_body, unsupported_field
from gateway.wire.control_headers import read_control_headers

MOST_INPUTS = 2048
"""In one request, as at OpenAI."""

_HONORED = frozenset({"model", "input", "encoding_format", "dimensions", "user"})
_JUDGED = (b'"model"', b'"input"')
_ABSENT = msgspec.Raw(b"null")


class _Peek(msgspec.Struct):
    model: str = ""
    input: msgspec.Raw = _ABSENT


class _Wishes(msgspec.Struct):
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = None


class Wanted(msgspec.Struct, frozen=True):
    """What an encoder has to know of a request."""

    texts: tuple[str, ...]
    is_base64: bool
    dimensions: int | None


_peeks = msgspec.json.Decoder(_Peek)
_wishes = msgspec.json.Decoder(_Wishes)
_texts = msgspec.json.Decoder(str | list[str])


def read_embeddings(arrival: IncomingRequest) -> Request:
    """Return what `arrival` asks.

    Raises RequestError for what is no JSON object, and where a model of ours is asked for what only
    a teacher's does.
    """
    peeked, fields = read_body(arrival.body, _peeks, _JUDGED)
    mode, _ = read_control_headers(arrival.headers)
    texts = _read_texts(peeked.input)
    beyond = _beyond(texts, fields)
    is_ours = peeked.model.startswith(OWN_PREFIX)
    if beyond and is_ours:
        raise RequestError(f"The model '{peeked.model}' takes texts only: {beyond}.", param="input")
    # Their bytes tell how many tokens there are when no answer says so.
    shown = (bytes(peeked.input).decode(),) if texts is None else texts
    return Request(
        **msgspec.structs.asdict(arrival),
        surface="embeddings",
        model=peeked.model,
        messages=tuple(Message("user", text) for text in shown),
        template="",
        contract_hash="",
        template_text="",
        text="",
        mode="local" if is_ours else mode,
        may_harvest=False,
        unsupported_reason=beyond,
    )


def read_otel_env(request: Request) -> Wanted:
    """Return what a request for texts asks of an encoder.

    Raises RequestError naming the `param` for what OpenAI would refuse as well.
    """
    wishes, _ = read_body(request.body, _wishes, _JUDGED)
    texts = tuple(message.text for message in request.messages)
    if not texts:
        raise _invalid("empty array. Expected an array with minimum length 1.", "empty_array")
    if len(texts) > MOST_INPUTS:
        problem = f"array too long. Expected an array with maximum length {MOST_INPUTS}, got {len(texts)}."
        raise _invalid(problem, "array_above_max_length")
    if not all(texts):
        raise _invalid("empty string. An input cannot be an empty string.", "empty_string")
    return Wanted(texts, wishes.encoding_format == "base64", wishes.dimensions)


def render_vector(index: int, vector: bytes, *, is_base64: bool) -> bytes:
    """Return one item of the answer's list; `vector` is float32, little-endian."""
    if is_base64:
        shown: object = b64encode(vector).decode()
    else:
        shown = memoryview(vector).cast("f").tolist()
    return msgspec.json.encode({"object": "embedding", "index": index, "embedding": shown})


def render_list(items: Sequence[bytes], model: str, prompt_tokens: int) -> bytes:
    """Return the whole answer around its rendered items."""
    usage = {"prompt_tokens": prompt_tokens, "total_tokens": prompt_tokens}
    end = msgspec.json.encode({"model": model, "usage": usage})
    return b'{"object":"list","data":[%b],%b' % (b",".join(items), end[1:])


def _read_texts(given_input: msgspec.Raw) -> tuple[str, ...] | None:
    """Return the input as texts, None if it is something else: tokens, or nothing."""
    try:
        read = _texts.decode(given_input)
    except (msgspec.DecodeError, RecursionError):
        return None
    return (read,) if isinstance(read, str) else tuple(read)


def _beyond(texts: tuple[str, ...] | None, fields: Fields) -> str:
    if texts is None:
        return "input is no text"
    return unsupported_field(fields, _HONORED)


def _invalid(problem: str, code: str) -> RequestError:
    return RequestError(f"Invalid 'input': {problem}", param="input", code=code)
