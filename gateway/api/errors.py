"""The one place where an error becomes an HTTP answer."""

from __future__ import annotations

import logging

import msgspec

from gateway.core import Header
from gateway.errors import (
    RequestError,
    UpstreamCredentialError,
    UpstreamError,
    UpstreamTimeoutError,
)
from gateway.wire.errors import error_body

logger = logging.getLogger(__name__)

# Our own retries are spent; the client's would only multiply them.
_NO_RETRY: Header = (b"x-should-retry", b"false")


class ClientGoneError(Exception):
    """The client closed its connection: there is nobody to answer."""


class ErrorResponse(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer which says why there is no other; `headers` lacks content-type and -length."""

    status: int
    body: bytes
    headers: tuple[Header, ...] = ()


def to_error_response(fault: Exception) -> ErrorResponse:
    """Return what the client is told about `fault`, always in OpenAI's envelope.

    What it was not meant to see (hosts, stack traces, anything unforeseen) goes to the log only.
    """
    match fault:
        case RequestError():
            body = error_body(str(fault), fault.kind, fault.param, fault.code)
            return ErrorResponse(status=fault.status, body=body, headers=_hints(fault.status))
        case UpstreamCredentialError():
            logger.error("the teacher refused the gateway's own credential: %s", fault)
            return _upstream(502, "The teacher refused the gateway's key.", "teacher_credential_rejected")
        case UpstreamTimeoutError():
            logger.warning("the teacher is late: %s", fault)
            return _upstream(504, "The teacher did not begin its answer in time.", "teacher_timeout")
        case UpstreamError():
            logger.warning("the teacher failed: %s", fault)
            return _upstream(502, "The teacher could not be reached.", "teacher_unreachable")
    logger.error("unforeseen fault", exc_info=fault)
    message = "The gateway failed to process your request; the request id names it in the gateway's log."
    return ErrorResponse(status=500, body=error_body(message, "server_error", code="internal_error"))


def wrong_method(allowed: bytes) -> ErrorResponse:
    """Return the answer to a method which this path does not know; `allowed` is for `Allow`."""
    message = "Not allowed to use this method on this path."
    body = error_body(message, "invalid_request_error", "method", "method_not_supported")
    return ErrorResponse(status=405, body=body, headers=((b"allow", allowed),))


def unknown_path(path: str) -> ErrorResponse:
    """Return the answer to a path which is none of ours."""
    body = error_body(f"Unknown request URL: {path[:200]}.", "invalid_request_error", None, "unknown_url")
    return ErrorResponse(status=404, body=body)


def _upstream(status: int, message: str, code: str) -> ErrorResponse:
    body = error_body(message, "api_error", code=code)
    return ErrorResponse(status=status, body=body, headers=(_NO_RETRY,))


def _hints(status: int) -> tuple[Header, ...]:
    return ((b"www-authenticate", b"Bearer"),) if status == 401 else ()
