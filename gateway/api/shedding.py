"""The answer to requests beyond what a worker can do, given before anything else is done for them."""

from __future__ import annotations

import time

from gateway.api.dependencies import ApiDependencies
from gateway.api.errors import to_error_response
from gateway.api.http.asgi import Receive, Scope, Send
from gateway.api.http.refusals import format_response
from gateway.api.http.response_headers import (
    json_headers,
    new_request_id,
    refusal_labels,
    with_standard_headers,
)
from gateway.api.in_flight import overloaded
from gateway.core import Header

# As long as an id, and found in no header.
_ID = "\0" * 32


class Shedding:
    """Refuses requests with 503: as an application that leaves their bodies unread, or as bytes.

    The connection stays open: a new one would cost more than the refusal.
    """

    def __init__(self, deps: ApiDependencies) -> None:
        self._error = to_error_response(overloaded())
        self._labels = refusal_labels(self._error.reason) if deps.show_labels else ()
        self._count_refusal = deps.count_refusal
        self._made_at = 0
        self._pieces: list[bytes] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        error = self._error
        headers = self._headers(new_request_id())
        await send({"type": "http.response.start", "status": error.status, "headers": headers})
        await send({"type": "http.response.body", "body": error.body, "more_body": False})
        self._count_refusal(error.status, error.reason, "", "")

    def write_response(self) -> bytes:
        """Return one whole response, for a request that is not to be parsed."""
        now = int(time.time())
        if now != self._made_at:
            # Its date is the same for a second.
            self._made_at = now
            whole = format_response(self._error.status, self._headers(_ID), self._error.body)
            self._pieces = whole.split(_ID.encode())
        error = self._error
        self._count_refusal(error.status, error.reason, "", "")
        return new_request_id().encode().join(self._pieces)

    def _headers(self, request_id: str) -> list[Header]:
        own = [*json_headers(self._error.body, request_id), *self._error.headers, *self._labels]
        return with_standard_headers(own, request_id)
