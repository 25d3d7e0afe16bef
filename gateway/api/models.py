"""GET /v1/models: the teacher's models and our specialists."""

from __future__ import annotations

import msgspec

from gateway.api.dependencies import ApiDependencies
from gateway.api.http.exchange import Exchange, cancel_on_disconnect
from gateway.api.passthrough import pass_through
from gateway.core import Body, Header
from gateway.errors import UpstreamError
from gateway.upstream.base import Call

_PREFIX = "/v1/models/"
_MAX_LIST_BYTES = 8 << 20

_lists = msgspec.json.Decoder(dict[str, msgspec.Raw])
_items = msgspec.json.Decoder(list[msgspec.Raw])


async def list_models(exchange: Exchange, deps: ApiDependencies) -> None:
    """Send the teacher's list with ours at its end; a failing teacher is reported as it failed."""
    caller = deps.authenticator.authenticate(exchange.headers)
    headers = _without_compression(exchange.headers)
    call = Call(method="GET", target=exchange.target, headers=headers, is_repeatable=True)
    async with cancel_on_disconnect(exchange):
        reply = await deps.teacher.ask(call)
        own = deps.own_models(caller)
        if reply.status == 200 and own:
            await exchange.send_json(200, _append_models(await _read_list(reply.body), own))
        else:
            await exchange.send_response(reply.status, reply.headers, reply.body)


async def show_model(exchange: Exchange, deps: ApiDependencies) -> None:
    """Send one of our models, or pass the request on: the teacher, too, may have a model of that name."""
    name = exchange.path.removeprefix(_PREFIX)
    # An unproven caller learns nothing about us: the teacher itself judges its key.
    caller = deps.authenticator.authenticate(exchange.headers)
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
