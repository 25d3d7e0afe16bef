"""OpenAI's embeddings API: reading its requests, and rendering vectors of our own as its answer."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from typing import Literal

import msgspec

from gateway.core import OWN_PREFIX, IncomingRequest, Message, Request
from gateway.errors import RequestError
from gateway.wire.body import Integer, RawFields, read_body, to_integer, unsupported_field
from gateway.wire.control_headers import read_control_headers
from gateway.wire.large_body import is_long, is_text

MAX_INPUTS = 2048
"""Per request, as at OpenAI."""

_HONORED = frozenset({"model", "input", "encoding_format", "dimensions", "user"})
_UNIQUE = (b'"model"', b'"input"')
_ABSENT = msgspec.Raw(b"null")


class _EmbeddingsFields(msgspec.Struct):
    model: str = ""
    input: msgspec.Raw = _ABSENT


class _EncodingFields(msgspec.Struct):
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Integer | None = None


class EncoderRequest(msgspec.Struct, frozen=True):
    """The texts of a request, and the format that it asks for their vectors."""

    texts: tuple[str, ...]
    is_base64: bool
    dimensions: int | None


_embeddings_fields = msgspec.json.Decoder(_EmbeddingsFields)
_encoding_fields = msgspec.json.Decoder(_EncodingFields)
_texts = msgspec.json.Decoder(str | list[str])


def read_embeddings(incoming: IncomingRequest) -> Request:
    """Return `incoming` with its body read.

    Raises RequestError if the body is not a JSON object, and if it asks a model of ours for what only the
    teacher's models do.
    """
    fields, raw = read_body(incoming.content, _embeddings_fields, _UNIQUE)
    mode, _ = read_control_headers(incoming.headers)
    texts = _read_texts(fields.input)
    reason = _unsupported_reason(texts, raw)
    is_ours = fields.model.startswith(OWN_PREFIX)
    if reason and is_ours:
        raise RequestError(f"The model '{fields.model}' takes texts only: {reason}.", param="input")
    # An input that is not text still counts: its bytes tell the number of tokens where no answer does.
    shown = (bytes(fields.input).decode(),) if texts is None else texts
    return Request(
        **msgspec.structs.asdict(incoming),
        surface="embeddings",
        model=fields.model,
        messages=tuple(Message("user", text) for text in shown),
        template="",
        contract_hash="",
        template_text="",
        text="",
        mode="local" if is_ours else mode,
        may_harvest=False,
        unsupported_reason=reason,
    )


def read_encoder_request(request: Request) -> EncoderRequest:
    """Return what a `request` with texts asks of an encoder.

    Raises RequestError naming the `param` for values that OpenAI refuses as well.
    """
    fields, _ = read_body(request.content, _encoding_fields, _UNIQUE)
    dimensions = to_integer(fields.dimensions, "dimensions")
    texts = tuple(message.text for message in request.messages)
    if not texts:
        raise _invalid_input("empty array. Expected an array with minimum length 1.", "empty_array")
    if len(texts) > MAX_INPUTS:
        problem = f"array too long. Expected an array with maximum length {MAX_INPUTS}, got {len(texts)}."
        raise _invalid_input(problem, "array_above_max_length")
    if not all(texts):
        raise _invalid_input("empty string. An input cannot be an empty string.", "empty_string")
    return EncoderRequest(texts, fields.encoding_format == "base64", dimensions)


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


def _read_texts(raw: msgspec.Raw) -> tuple[str, ...] | None:
    """Return the input as texts, None if it is anything else: tokens, too long a text, or nothing."""
    if _is_too_long(raw):
        return None
    try:
        texts = _texts.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return None
    return (texts,) if isinstance(texts, str) else tuple(texts)


def _unsupported_reason(texts: tuple[str, ...] | None, raw: RawFields) -> str:
    if texts is None:
        return "large body" if _is_too_long(raw.get("input", _ABSENT)) else "input is no text"
    return unsupported_field(raw, _HONORED)


def _is_too_long(value: msgspec.Raw) -> bool:
    """Return whether the input is one text that no encoder takes, and that is not decoded in one step."""
    return is_long(value) and is_text(value)


def _invalid_input(problem: str, code: str) -> RequestError:
    return RequestError(f"Invalid 'input': {problem}", param="input", code=code)
