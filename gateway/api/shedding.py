"""The answer to requests beyond what a worker can do, given before anything else is done for them."""

from __future__ import annotations

from gateway.api.dependencies import ApiDependencies
from gateway.api.errors import to_error_response
from gateway.api.http.asgi import App, Receive, Scope, Send
from gateway.api.http.response_headers import (
    json_headers,
    new_request_id,
    refusal_labels,
    with_standard_headers,
)
from gateway.api.in_flight import overloaded


def create_shedding(deps: ApiDependencies) -> App:
    """Return the application that refuses every request with 503 and leaves its body unread.

    The connection stays open: a new one would cost more than the refusal.
    """
    error = to_error_response(overloaded())
    labels = refusal_labels(error.reason) if deps.show_labels else ()

    async def shed(scope: Scope, receive: Receive, send: Send) -> None:
        request_id = new_request_id()
        own = [*json_headers(error.body, request_id), *error.headers, *labels]
        headers = with_standard_headers(own, request_id)
        await send({"type": "http.response.start", "status": error.status, "headers": headers})
        await send({"type": "http.response.body", "body": error.body, "more_body": False})
        deps.count_refusal(error.status, error.reason, "", "")

    return shed
