"""The one place where an error becomes an HTTP response."""

from __future__ import annotations

import logging

import msgspec

from gateway.core import Header
from gateway.errors import (
    RequestError,
    UpstreamBusyError,
    UpstreamCredentialError,
    UpstreamError,
    UpstreamTimeoutError,
)
from gateway.upstream.retry import DO_NOT_RETRY
from gateway.wire.content_encoding import READABLE_REQUESTS
from gateway.wire.errors import error_body
from gateway.wire.loop_header import has_looped

logger = logging.getLogger(__name__)


class ClientGoneError(Exception):
    """The client closed its connection: no answer can reach it."""


class ErrorResponse(msgspec.Struct, frozen=True, kw_only=True):
    """A whole response that reports an error; `headers` lacks content-type and -length."""

    status: int
    body: bytes
    headers: tuple[Header, ...] = ()
    reason: str = ""
    """Why, in a few words that can be counted."""
    policy: str = ""
    """The policy that refused; empty if none did."""
    key: str = ""
    """The name of the gateway key that was refused, if the caller was not admitted."""
    because: str = ""
    """Why no specialist may answer, where only one was asked for."""
    is_of_teacher: bool = False
    """Whether the teacher was asked and failed: an Outcome then says so."""


def to_error_response(exc: Exception, request_id: str = "") -> ErrorResponse:
    """Return the response for `exc`, always with OpenAI's error object.

    Details that are not the client's (hosts, stack traces, anything unforeseen) go to the log only, with
    the request's id.
    """
    match exc:
        case RequestError():
            body = error_body(str(exc), exc.kind, exc.param, exc.code)
            headers = (*_headers_of(exc.status), *exc.headers)
            reason = _phrase(exc.code or "invalid request")
            return ErrorResponse(
                status=exc.status,
                body=body,
                headers=headers,
                reason=reason,
                policy=exc.policy,
                key=exc.key,
                because=exc.because,
            )
        case UpstreamCredentialError():
            logger.error("%s: the teacher refused the gateway's own credential: %s", request_id, exc)
            error = _teacher_error(
                exc, 502, "The teacher refused the gateway's key.", "teacher_credential_rejected"
            )
            # A client's retry cannot change the key.
            return msgspec.structs.replace(error, headers=(DO_NOT_RETRY,))
        case UpstreamTimeoutError():
            logger.warning("%s: the teacher is late: %s", request_id, exc)
            return _teacher_error(
                exc, 504, "The teacher did not begin its answer in time.", "teacher_timeout"
            )
        case UpstreamBusyError():
            error = _teacher_error(
                exc, 503, "The teacher has as many requests as it may have.", "teacher_busy"
            )
            return msgspec.structs.replace(error, headers=((b"retry-after", b"1"),))
        case UpstreamError():
            logger.warning("%s: the teacher failed: %s", request_id, exc)
            return _teacher_error(exc, 502, "The teacher could not be reached.", "teacher_unreachable")
    logger.error("%s: unforeseen error", request_id, exc_info=exc)
    message = "The gateway failed to process your request; the request id names it in the gateway's log."
    body = error_body(message, "server_error", code="internal_error")
    return ErrorResponse(status=500, body=body, reason="internal error")


def stopping() -> ErrorResponse:
    """Return the response to a request that a gateway that ends did not finish in time; another may."""
    message = "The gateway is stopping and did not finish your request; send it again."
    body = error_body(message, "server_error", code="gateway_stopping")
    # The connection ends by itself: a server that stops keeps none.
    return ErrorResponse(status=503, body=body, headers=((b"retry-after", b"1"),), reason="gateway stopping")


def stream_cut() -> RequestError:
    """Return the error that ends a stream that the gateway did not finish in time."""
    return RequestError("the answer was broken off", kind="api_error", code="stream_cut")


def refuse_loop(headers: tuple[Header, ...], instance: bytes) -> None:
    """Raise RequestError (508) for a request that this gateway has sent itself, perhaps through others."""
    if has_looped(headers, instance):
        raise RequestError(
            "This request has been here before: the gateway's teacher is the gateway itself, or leads back "
            "to it. The operator must set OPENAI_BASE_URL to another address.",
            status=508,
            kind="server_error",
            code="gateway_loop",
        )


def wrong_method(allowed: bytes) -> ErrorResponse:
    """Return the response to a method that this path does not have; `allowed` is for `Allow`."""
    message = "Not allowed to use this method on this path."
    body = error_body(message, "invalid_request_error", "method", "method_not_supported")
    return ErrorResponse(status=405, body=body, headers=((b"allow", allowed),), reason="method not supported")


def inexact_path(path: str) -> RequestError:
    """Return the refusal of a path that is spelled otherwise than rules and teacher might read it."""
    return RequestError(
        f"Spell the path as {path[:200]}: this gateway takes one spelling of each path.",
        code="path_not_canonical",
    )


def unknown_path(path: str) -> ErrorResponse:
    """Return the response to a path that is neither ours nor the teacher's."""
    message = f"Unknown request URL: {path[:200]}. The API is below /v1."
    body = error_body(message, "invalid_request_error", None, "unknown_url")
    return ErrorResponse(status=404, body=body, reason="unknown url")


def _teacher_error(exc: UpstreamError, status: int, message: str, code: str) -> ErrorResponse:
    body = error_body(message, "api_error", code=code)
    # Where we asked once, the client's own retries are what it would have without us.
    headers = (DO_NOT_RETRY,) if exc.was_retried else ()
    return ErrorResponse(status=status, body=body, headers=headers, reason=_phrase(code), is_of_teacher=True)


def _phrase(code: str) -> str:
    return code.replace("_", " ")


def _headers_of(status: int) -> tuple[Header, ...]:
    match status:
        case 401:
            return ((b"www-authenticate", b"Bearer"),)
        case 508:
            return (DO_NOT_RETRY,)
        case 415:
            # RFC 7694 section 3: so that the client can send the same again in a coding that we read.
            return ((b"accept-encoding", READABLE_REQUESTS),)
    return ()
