"""POST /v1/chat/completions, and the other APIs that take the same way through the cascade."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping

import msgspec

from gateway.api.admission import admit_caller, take_answer_tokens
from gateway.api.dependencies import ApiDependencies
from gateway.api.errors import wrong_method
from gateway.api.http.exchange import Exchange, cancel_on_disconnect
from gateway.api.http.response_headers import with_labels
from gateway.api.incoming import describe_incoming
from gateway.api.passthrough import pass_through
from gateway.core import IncomingRequest, Request, SurfaceName
from gateway.errors import UnreadableBodyError
from gateway.wire.chat.request import read_chat
from gateway.wire.embeddings import read_embeddings
from gateway.wire.large_body import LARGE_BYTES
from gateway.wire.responses.request import read_responses
from gateway.wire.unread import describe_unread

RequestReader = Callable[[IncomingRequest], Request]
"""Reads the body of one API. Raises RequestError naming the `param`."""

_SURFACES: Mapping[RequestReader, SurfaceName] = {
    read_chat: "chat",
    read_responses: "responses",
    read_embeddings: "embeddings",
}


async def answer_request(exchange: Exchange, deps: ApiDependencies, read_request: RequestReader) -> None:
    """Answer one request of the API that `read_request` reads, by a local model or by the teacher.

    Raises StepdownError before the answer began, ClientGoneError any time.
    """
    received_at = time.monotonic()
    caller = await admit_caller(exchange, deps)
    body = await exchange.open_body(deps.limits.chat).read_all()
    incoming = describe_incoming(
        caller,
        request_id=exchange.id,
        resource=exchange.resource,
        target=exchange.target,
        headers=exchange.headers,
        received_at=received_at,
        body=body,
        # With its own key the gateway must know what it pays for.
        may_go_unread=not deps.has_own_key,
    )
    request = await _read(incoming, read_request, deps)
    exchange.model = request.model
    request = take_answer_tokens(exchange, request)
    async with cancel_on_disconnect(exchange):
        answer = await deps.serve(request)
        deps.authenticator.observe_status(caller, answer.status)
        headers = with_labels(answer, sees_details=caller.sees_scores, show_labels=deps.show_labels)
        if b"x-request-id" not in dict(headers):
            headers += ((b"x-request-id", exchange.id.encode()),)
        await exchange.send_response(answer.status, headers, answer.body)


async def answer_other_methods(exchange: Exchange, deps: ApiDependencies) -> None:
    """Refuse every method but GET: with it the teacher lists the completions that it stored."""
    if exchange.method != "GET":
        return await exchange.send_error(wrong_method(b"GET, POST"))
    error = wrong_method(b"POST")
    return await pass_through(exchange, deps, replacements={404: error, 405: error, 501: error})


async def _read(incoming: IncomingRequest, read_request: RequestReader, deps: ApiDependencies) -> Request:
    """Return `incoming` with its body read, or as a bypass if it may go to the teacher unread."""
    decode, limit_bytes = deps.body_decoder.decode, deps.limits.chat.max_bytes
    try:
        decoded = await decode(incoming.headers, incoming.body, limit_bytes)
        if decoded is not None:
            incoming = msgspec.structs.replace(incoming, decoded=decoded)
        if len(incoming.content) <= LARGE_BYTES:
            return read_request(incoming)
        return await deps.body_decoder.read(incoming.content, lambda: read_request(incoming))
    except UnreadableBodyError as exc:
        if not incoming.may_go_unread:
            raise
        surface = _SURFACES[read_request]
        if len(incoming.content) <= LARGE_BYTES:
            return describe_unread(incoming, surface, exc)
        return await asyncio.to_thread(describe_unread, incoming, surface, exc)
