"""The model of a request that only the teacher answers, read before anything reaches the teacher."""

from __future__ import annotations

from urllib.parse import parse_qs

import msgspec

from gateway.api.http.body import BodyLimits, BodyReader, announced_bytes
from gateway.api.http.encoded_body import BodyDecoder
from gateway.api.http.exchange import Exchange, Upload
from gateway.core import Header
from gateway.errors import RequestError
from gateway.wire.body import read_body
from gateway.wire.content_encoding import content_codings
from gateway.wire.form_model import FormModel

# A field such as a prompt may stand before the model; a file never does.
_MAX_BEFORE_MODEL_BYTES = 1 << 20


class _ModelField(msgspec.Struct):
    model: str | None = None


_model_fields = msgspec.json.Decoder(_ModelField)


class ReadableRequest(msgspec.Struct, frozen=True):
    """A request's body as it goes on, and the model that it names; empty if that is unknown."""

    body: bytes | Upload
    model: str = ""
    decoded: bytes | None = None
    """The body without its content-encoding, None if it has none or passes unread."""
    object_ids: tuple[str, ...] = ()
    """The objects that its form names."""


async def read_model(
    exchange: Exchange, limits: BodyLimits, decoder: BodyDecoder, *, is_strict: bool
) -> ReadableRequest:
    """Return the request's body and its model, or the model that the teacher takes without one.

    What names its model in JSON is read whole, within `limits.chat`, and if `is_strict` every body that
    is no form, because it may name objects; everything else passes piece by piece, a form after what it
    names. Raises RequestError if `is_strict` and the body of a known endpoint cannot be read; else its
    model is unknown.
    """
    endpoint = exchange.resource.endpoint
    place = endpoint.model if endpoint else "none"
    content_type = find_header(exchange.headers, b"content-type")
    if is_strict and [name for name, _ in exchange.headers].count(b"content-type") > 1:
        raise RequestError("More than one Content-Type header was sent.", param="content-type")
    if content_type.lower().startswith(b"multipart/form-data"):
        if not is_strict and (endpoint is None or place not in ("body", "form")):
            return ReadableRequest(_upload(exchange, limits))
        readable = await _read_form(exchange, limits, content_type, is_strict=is_strict)
    elif announced_bytes(exchange.headers) == 0:
        exchange.open_body(limits.chat)
        readable = ReadableRequest(b"")
    elif is_strict or place in ("body", "form"):
        readable = await _read_json(exchange, limits, decoder, is_strict=is_strict)
    else:
        return ReadableRequest(_upload(exchange, limits))
    if endpoint is None or place not in ("body", "form", "query"):
        return msgspec.structs.replace(readable, model="")
    if place == "query":
        return msgspec.structs.replace(readable, model=read_query_model(exchange.target, is_strict=is_strict))
    return msgspec.structs.replace(readable, model=readable.model or endpoint.default_model)


def read_query_model(target: bytes, *, is_strict: bool) -> str:
    """Return the `model` of a query, empty without one. Raises RequestError for two if `is_strict`."""
    query = target.partition(b"?")[2].decode("latin-1")
    models = parse_qs(query).get("model", [])
    if len(models) > 1 and is_strict:
        raise RequestError("Duplicate parameter: 'model'.", param="model", code="duplicate_parameter")
    return models[0] if len(models) == 1 else ""


def find_header(headers: tuple[Header, ...], name: bytes) -> bytes:
    """Return the value of the first header `name`, empty without one."""
    return next((value for key, value in headers if key == name), b"")


def _upload(exchange: Exchange, limits: BodyLimits) -> bytes | Upload:
    reader = exchange.open_body(limits.upload)
    return b"" if announced_bytes(exchange.headers) == 0 else Upload(reader)


async def _read_json(
    exchange: Exchange, limits: BodyLimits, decoder: BodyDecoder, *, is_strict: bool
) -> ReadableRequest:
    body = await exchange.open_body(limits.chat).read_all()
    try:
        decoded = await decoder.decode(exchange.headers, body, limits.chat.max_bytes)
    except RequestError:
        # On an unknown path as well: the ids of another tenant's objects may be in it.
        if is_strict:
            raise
        return ReadableRequest(body)
    content = body if decoded is None else decoded
    try:
        fields, _ = await decoder.read(content, lambda: read_body(content, _model_fields, (b'"model"',)))
    except RequestError:
        if is_strict and exchange.resource.endpoint:
            raise
        return ReadableRequest(body, decoded=decoded)
    return ReadableRequest(body, fields.model or "", decoded)


async def _read_form(
    exchange: Exchange, limits: BodyLimits, content_type: bytes, *, is_strict: bool
) -> ReadableRequest:
    reader = exchange.open_body(limits.upload)
    begun: list[bytes] = []
    if content_codings(exchange.headers):
        if is_strict:
            # Bytes can be a form as they come, and another one once they are decoded.
            raise _encoded_form()
        return ReadableRequest(Upload(reader))
    try:
        form = FormModel(content_type)
        await _read_until_settled(reader, form, begun, is_strict=is_strict)
    except RequestError as exc:
        if is_strict or exc.status != 400:
            raise
        return ReadableRequest(Upload(reader, begun))
    follow = form.feed if is_strict else None
    return ReadableRequest(Upload(reader, begun, follow), form.model, object_ids=form.object_ids)


def _encoded_form() -> RequestError:
    return RequestError(
        "A form must come without content-encoding.",
        status=415,
        param="content-encoding",
        code="unsupported_content_encoding",
    )


async def _read_until_settled(
    reader: BodyReader, form: FormModel, begun: list[bytes], *, is_strict: bool
) -> None:
    size = 0
    while not (form.is_settled or reader.is_over) and size < _MAX_BEFORE_MODEL_BYTES:
        if form.model and not is_strict:
            return
        begun.append(await reader.read_piece())
        size += len(begun[-1])
        form.feed(begun[-1])
    form.settle(is_over=reader.is_over)
