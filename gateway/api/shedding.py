"""The answer to requests beyond what a worker can do, given before anything else is done for them."""

from __future__ import annotations

import asyncio

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
RENEW_S = 0.1


class Shedding:
    """Refuses requests with 503: as an application that leaves their bodies unread, or as bytes.

    The connection stays open: a new one would cost more than the refusal.
    """

    def __init__(self, deps: ApiDependencies) -> None:
        self._error = to_error_response(overloaded())
        self._labels = refusal_labels(self._error.reason) if deps.show_labels else ()
        self._count_refusal = deps.count_refusal
        self._pieces: list[bytes] = []
        self._first_id = 0
        self._uncounted = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        error = self._error
        headers = self._headers(new_request_id())
        await send({"type": "http.response.start", "status": error.status, "headers": headers})
        await send({"type": "http.response.body", "body": error.body, "more_body": False})
        self._count_refusal(error.status, error.reason, "", "")

    def write_response(self) -> bytes:
        """Return one whole response, for a request that is not to be parsed. Call it in the event loop.

        Whatever is the same for all of the next RENEW_S is made once, and they are counted together.
        """
        if not self._uncounted:
            self._renew()
        self._uncounted += 1
        return (b"%032x" % (self._first_id + self._uncounted)).join(self._pieces)

    def _renew(self) -> None:
        # A later id is the greater one, as always; the 80 bits below its time are random.
        self._first_id = int(new_request_id(), 16)
        whole = format_response(self._error.status, self._headers(_ID), self._error.body)
        self._pieces = whole.split(_ID.encode())
        asyncio.get_running_loop().call_later(RENEW_S, self._count)

    def _count(self) -> None:
        counted, self._uncounted = self._uncounted, 0
        self._count_refusal(self._error.status, self._error.reason, "", "", counted)

    def _headers(self, request_id: str) -> list[Header]:
        own = [*json_headers(self._error.body, request_id), *self._error.headers, *self._labels]
        return with_standard_headers(own, request_id)
