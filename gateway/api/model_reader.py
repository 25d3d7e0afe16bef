"""The model of a request that only the teacher answers, read before anything reaches the teacher."""

from __future__ import annotations

from urllib.parse import parse_qs

import msgspec

from gateway.api.http.body import BodyLimits, BodyReader, announced_bytes
from gateway.api.http.exchange import Exchange, Upload
from gateway.core import Header
from gateway.errors import RequestError
from gateway.wire.body import read_body
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


async def read_model(exchange: Exchange, limits: BodyLimits, *, is_strict: bool) -> ReadableRequest:
    """Return the request's body and its model, or the model that the teacher takes without one.

    What names its model in JSON is read whole, within `limits.chat`, and if `is_strict` every body that
    is no form, because it may name objects; everything else passes piece by piece. Raises RequestError if
    `is_strict` and the body of a known endpoint cannot be read; else its model is unknown.
    """
    endpoint = exchange.resource.endpoint
    place = endpoint.model if endpoint else "none"
    content_type = find_header(exchange.headers, b"content-type")
    if content_type.lower().startswith(b"multipart/form-data"):
        if endpoint is None or place not in ("body", "form"):
            return ReadableRequest(_upload(exchange, limits))
        readable = await _read_form(exchange, limits, content_type, is_strict=is_strict)
    elif announced_bytes(exchange.headers) == 0:
        exchange.open_body(limits.chat)
        readable = ReadableRequest(b"")
    elif is_strict or place in ("body", "form"):
        readable = await _read_json(exchange, limits, is_strict=is_strict and endpoint is not None)
    else:
        return ReadableRequest(_upload(exchange, limits))
    if endpoint is None or place not in ("body", "form", "query"):
        return ReadableRequest(readable.body)
    if place == "query":
        return ReadableRequest(readable.body, read_query_model(exchange.target, is_strict=is_strict))
    return ReadableRequest(readable.body, readable.model or endpoint.default_model)


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


async def _read_json(exchange: Exchange, limits: BodyLimits, *, is_strict: bool) -> ReadableRequest:
    body = await exchange.open_body(limits.chat).read_all()
    try:
        fields, _ = read_body(body, _model_fields, (b'"model"',))
    except RequestError:
        if is_strict:
            raise
        return ReadableRequest(body)
    return ReadableRequest(body, fields.model or "")


async def _read_form(
    exchange: Exchange, limits: BodyLimits, content_type: bytes, *, is_strict: bool
) -> ReadableRequest:
    reader = exchange.open_body(limits.upload)
    begun: list[bytes] = []
    try:
        form = FormModel(content_type)
        await _read_until_settled(reader, form, begun)
    except RequestError as exc:
        if is_strict or exc.status != 400:
            raise
        return ReadableRequest(Upload(reader, begun))
    follow = form.feed if is_strict else None
    return ReadableRequest(Upload(reader, begun, follow), form.model)


async def _read_until_settled(reader: BodyReader, form: FormModel, begun: list[bytes]) -> None:
    size = 0
    while not (form.is_settled or reader.is_over) and size < _MAX_BEFORE_MODEL_BYTES:
        begun.append(await reader.read_piece())
        size += len(begun[-1])
        form.feed(begun[-1])
