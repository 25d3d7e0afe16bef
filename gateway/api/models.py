"""GET /v1/models: the teacher's models and our specialists."""

from __future__ import annotations

import time

import msgspec

from gateway.api.admission import admit_caller
from gateway.api.dependencies import ApiDependencies
from gateway.api.http.exchange import Exchange, cancel_on_disconnect
from gateway.api.http.response_headers import with_labels
from gateway.api.incoming import describe_incoming, unread_request
from gateway.api.passthrough import pass_through
from gateway.core import Body, Header
from gateway.errors import UpstreamError

_PREFIX = "/v1/models/"
_MAX_LIST_BYTES = 8 << 20

_lists = msgspec.json.Decoder(dict[str, msgspec.Raw])
_items = msgspec.json.Decoder(list[msgspec.Raw])


async def list_models(exchange: Exchange, deps: ApiDependencies) -> None:
    """Send the teacher's list with ours at its end; a failing teacher is reported as it failed."""
    received_at = time.monotonic()
    caller = await admit_caller(exchange, deps)
    headers = _without_compression(exchange.headers)
    incoming = describe_incoming(
        caller,
        request_id=exchange.id,
        resource=exchange.resource,
        target=exchange.target,
        headers=headers,
        received_at=received_at,
    )
    async with cancel_on_disconnect(exchange):
        answer = await deps.pass_through(unread_request(incoming, ""), b"")
        own = deps.own_models(caller)
        if answer.status == 200 and own:
            await exchange.send_json(200, _append_models(await _read_list(answer.body), own))
        else:
            sent = with_labels(answer, sees_details=caller.sees_scores, show_labels=deps.show_labels)
            await exchange.send_response(answer.status, sent, answer.body)


async def show_model(exchange: Exchange, deps: ApiDependencies) -> None:
    """Send one of our models, or pass the request on: the teacher, too, may have a model of that name."""
    name = exchange.path.path.removeprefix(_PREFIX)
    # An unproven caller learns nothing about us: the teacher itself judges its key.
    caller = await admit_caller(exchange, deps)
    if caller.is_trusted and name in deps.own_models(caller):
        await exchange.send_json(200, msgspec.json.encode(_model_object(name)))
    else:
        await pass_through(exchange, deps)


def _model_object(name: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "stepdown"}


def _append_models(content: bytes, own: list[str]) -> bytes:
    try:
        fields = _lists.decode(content)
        items = _items.decode(fields["data"])
    except (ValueError, KeyError, RecursionError) as exc:
        raise UpstreamError("the teacher's list of models is unreadable") from exc
    items += [msgspec.Raw(msgspec.json.encode(_model_object(name))) for name in own]
    return msgspec.json.encode({**fields, "data": items})


async def _read_list(body: Body) -> bytes:
    pieces = []
    size = 0
    try:
        async for piece in body:
            size += len(piece)
            if size > _MAX_LIST_BYTES:
                raise UpstreamError("the teacher's list of models is too long")
            pieces.append(piece)
    finally:
        await body.aclose()
    return b"".join(pieces)


def _without_compression(headers: tuple[Header, ...]) -> tuple[Header, ...]:
    kept = tuple(header for header in headers if header[0] != b"accept-encoding")
    return (*kept, (b"accept-encoding", b"identity"))
