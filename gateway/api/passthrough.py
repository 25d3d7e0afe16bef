"""Every path below /v1/ that is not ours: to the teacher and back, untouched."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.api.dependencies import ApiDependencies
from gateway.api.errors import ErrorResponse
from gateway.api.http.body import announced_bytes
from gateway.api.http.exchange import Exchange, Upload, cancel_on_disconnect
from gateway.upstream.base import Call

# RFC 9110 section 9.2.1: asking twice changes nothing.
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def may_pass(path: str) -> bool:
    """Return whether a decoded path may go to the teacher: below /v1/, without a step up."""
    return path.startswith("/v1/") and ".." not in path.split("/")


async def pass_through(
    exchange: Exchange, deps: ApiDependencies, replacements: Mapping[int, ErrorResponse] | None = None
) -> None:
    """Forward the request and its response piece by piece; `replacements` are by the teacher's status.

    Raises StepdownError before the response began, UpstreamError and ClientGoneError any time.
    """
    caller = deps.authenticator.authenticate(exchange.headers)
    body_reader = exchange.open_body(deps.limits.upload)
    upload = None if announced_bytes(exchange.headers) == 0 else Upload(body_reader)
    call = Call(
        method=exchange.method,
        target=exchange.target,
        headers=exchange.headers,
        body=upload or b"",
        is_repeatable=upload is None and exchange.method in _SAFE_METHODS,
    )
    async with cancel_on_disconnect(exchange, upload):
        reply = await deps.teacher.ask(call)
        if reply.status in (401, 403):
            deps.authenticator.observe_status(caller, reply.status)
        if replacements and reply.status in replacements:
            await reply.body.aclose()
            await exchange.send_error(replacements[reply.status])
        else:
            await exchange.send_response(reply.status, reply.headers, reply.body)
