"""POST /v1/chat/completions, and the other APIs that take the same way through the cascade."""

from __future__ import annotations

import time
from collections.abc import Callable

from gateway.api.dependencies import ApiDependencies
from gateway.api.errors import wrong_method
from gateway.api.http.exchange import Exchange, cancel_on_disconnect
from gateway.api.http.response_headers import with_labels
from gateway.api.incoming import describe_incoming
from gateway.api.passthrough import pass_through
from gateway.core import IncomingRequest, Request

RequestReader = Callable[[IncomingRequest], Request]
"""Reads the body of one API. Raises RequestError naming the `param`."""


async def answer_request(exchange: Exchange, deps: ApiDependencies, read_request: RequestReader) -> None:
    """Answer one request of the API that `read_request` reads, by a local model or by the teacher.

    Raises StepdownError before the answer began, ClientGoneError any time.
    """
    received_at = time.monotonic()
    caller = deps.authenticator.authenticate(exchange.headers)
    body = await exchange.open_body(deps.limits.chat).read_all()
    incoming = describe_incoming(
        caller,
        request_id=exchange.id,
        resource=exchange.resource,
        target=exchange.target,
        headers=exchange.headers,
        received_at=received_at,
        body=body,
    )
    request = read_request(incoming)
    async with cancel_on_disconnect(exchange):
        answer = await deps.serve(request)
        deps.authenticator.observe_status(caller, answer.status)
        headers = with_labels(answer, sees_details=caller.sees_scores, show_labels=deps.show_labels)
        if not any(name.lower() == b"x-request-id" for name, _ in headers):
            headers += ((b"x-request-id", exchange.id.encode()),)
        await exchange.send_response(answer.status, headers, answer.body)


async def answer_other_methods(exchange: Exchange, deps: ApiDependencies) -> None:
    """Refuse every method but GET: with it the teacher lists the completions that it stored."""
    if exchange.method != "GET":
        return await exchange.send_error(wrong_method(b"GET, POST"))
    error = wrong_method(b"POST")
    return await pass_through(exchange, deps, replacements={404: error, 405: error, 501: error})
