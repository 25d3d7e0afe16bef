"""Refusals of the edge: whole responses in OpenAI's envelope, and a log that no client can fill."""

from __future__ import annotations

import logging
from http.client import responses

import msgspec

from gateway.api.http.response_headers import json_headers, new_request_id, with_standard_headers
from gateway.core import Header
from gateway.wire.errors import error_body

LOG_INTERVAL_S = 60.0

logger = logging.getLogger(__name__)


class Refusal(msgspec.Struct, frozen=True):
    """A request that is refused before the application sees it."""

    status: int
    code: str
    message: str
    kind: str = "invalid_request_error"
    headers: tuple[Header, ...] = ()


_RETRY = ((b"retry-after", b"1"), (b"retry-after-ms", b"1000"))

NOT_HTTP = Refusal(400, "invalid_http", "This is not a valid HTTP/1.1 request.")
NO_SUCH_CODING = Refusal(
    501, "unsupported_transfer_encoding", "The only transfer-encoding that is known here is 'chunked'."
)
HEAD_TOO_LONG = Refusal(431, "headers_too_large", "The headers of the request are too long or too many.")
URL_TOO_LONG = Refusal(414, "url_too_long", "The URL of the request is too long.")
HEAD_TOO_SLOW = Refusal(408, "request_timeout", "The headers of the request came too slowly.")
TOO_MANY_CONNECTIONS = Refusal(
    503,
    "too_many_connections",
    "Too many connections are open; try again in a second.",
    "server_error",
    _RETRY,
)


def write_refusal(refusal: Refusal, *, closes: bool = True) -> bytes:
    """Return the whole response; `closes` says whether it is the connection's last."""
    request_id = new_request_id()
    body = error_body(refusal.message, refusal.kind, code=refusal.code)
    closing = [(b"connection", b"close")] if closes else []
    headers = with_standard_headers([*json_headers(body, request_id), *refusal.headers, *closing], request_id)
    return format_response(refusal.status, headers, body)


def format_response(status: int, headers: list[Header], body: bytes) -> bytes:
    """Return the bytes of a whole HTTP/1.1 response."""
    lines = [f"HTTP/1.1 {status} {responses[status]}".encode()]
    lines += [b"%b: %b" % header for header in headers]
    return b"\r\n".join([*lines, b"", body])


class RefusalLog:
    """Logs one line a minute for each kind of refusal."""

    def __init__(self) -> None:
        self._logged_at: dict[str, float] = {}
        self._since: dict[str, int] = {}

    def note(self, what: str, now: float) -> None:
        """Count one `what`, a short phrase of ours, at `now` in seconds."""
        self._since[what] = self._since.get(what, 0) + 1
        if now - self._logged_at.get(what, -LOG_INTERVAL_S) < LOG_INTERVAL_S:
            return
        logger.warning("%s: %d since the last such line", what, self._since[what])
        self._logged_at[what], self._since[what] = now, 0
