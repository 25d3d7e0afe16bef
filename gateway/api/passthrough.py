"""Every path below /v1/ that no specialist serves: under the policies, to the teacher and back, untouched."""

from __future__ import annotations

import time
from collections.abc import Mapping

from gateway.api.admission import admit_caller, count_tokens
from gateway.api.dependencies import ApiDependencies
from gateway.api.errors import ErrorResponse
from gateway.api.http.exchange import Exchange, Upload, cancel_on_disconnect
from gateway.api.http.response_headers import with_labels
from gateway.api.incoming import describe_incoming, unread_request
from gateway.api.model_reader import read_model
from gateway.wire.canonical_path import CanonicalPath


def may_pass(raw_path: bytes, path: CanonicalPath) -> bool:
    """Return whether a path may go to the teacher: below /v1/ as sent, and as any server may read it."""
    return raw_path.startswith(b"/v1/") and f"{path.path}/".startswith("/v1/")


async def pass_through(
    exchange: Exchange, deps: ApiDependencies, replacements: Mapping[int, ErrorResponse] | None = None
) -> None:
    """Forward the request and its response piece by piece; `replacements` are by the teacher's status.

    Raises StepdownError before the response began, UpstreamError and ClientGoneError any time.
    """
    received_at = time.monotonic()
    caller = await admit_caller(exchange, deps)
    readable = await read_model(exchange, deps.limits, deps.body_decoder, is_strict=deps.has_own_key)
    exchange.model = readable.model
    incoming = describe_incoming(
        caller,
        request_id=exchange.id,
        resource=exchange.resource,
        target=exchange.target,
        headers=exchange.headers,
        received_at=received_at,
        body=readable.body if isinstance(readable.body, bytes) else b"",
        decoded=readable.decoded,
        form_ids=readable.object_ids,
    )
    request = count_tokens(exchange, unread_request(incoming, readable.model))
    upload = readable.body if isinstance(readable.body, Upload) else None
    async with cancel_on_disconnect(exchange, upload):
        answer = await deps.pass_through(request, readable.body)
        if answer.status in (401, 403):
            deps.authenticator.observe_status(caller, answer.status)
        if replacements and answer.status in replacements:
            await answer.body.aclose()
            await exchange.send_error(replacements[answer.status])
        else:
            headers = with_labels(answer, sees_details=caller.sees_scores, show_labels=deps.show_labels)
            await exchange.send_response(answer.status, headers, answer.body)
