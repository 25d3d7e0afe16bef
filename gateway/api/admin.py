"""The admin application, on its own port: metrics and status for machines and for people."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import msgspec
from litestar import Litestar, Request, Response, get
from litestar.exceptions import HTTPException, NotFoundException
from litestar.params import FromPath

from gateway.wire.errors import error_body

logger = logging.getLogger(__name__)


def create_admin(
    metrics: Callable[[], bytes],
    status: Callable[[], dict[str, object]],
    explain: Callable[[str], msgspec.Struct | None] = lambda _: None,
) -> Litestar:
    """Return the ASGI application behind the admin port.

    `metrics` is Prometheus text, `explain` the explanation of a request by its id, None if it is not
    known; all may block and are called in a thread.
    """

    @get("/metrics", sync_to_thread=True)
    def show_metrics() -> Response[bytes]:
        return Response(metrics(), media_type="text/plain; version=0.0.4")

    @get("/status", sync_to_thread=True)
    def show_status() -> Response[bytes]:
        return Response(msgspec.json.encode(status()), media_type="application/json")

    @get("/admin/decisions/{request_id:str}", sync_to_thread=True)
    def show_decision(request_id: FromPath[str]) -> Response[bytes]:
        explanation = explain(request_id)
        if explanation is None:
            raise NotFoundException(f"No decision with the id {request_id[:64]} is kept.")
        return Response(msgspec.json.encode(explanation), media_type="application/json")

    @get("/healthz", sync_to_thread=False)
    def show_health() -> Response[bytes]:
        return Response(b'{"status":"alive"}', media_type="application/json")

    return Litestar(
        [show_metrics, show_status, show_decision, show_health],
        openapi_config=None,
        logging_config=None,
        exception_handlers={HTTPException: _refuse, Exception: _report_failure},
    )


def _refuse(_: Request[Any, Any, Any], exc: HTTPException) -> Response[bytes]:
    body = error_body(exc.detail, "invalid_request_error")
    return Response(body, status_code=exc.status_code, media_type="application/json")


def _report_failure(_: Request[Any, Any, Any], exc: Exception) -> Response[bytes]:
    logger.error("the admin site failed", exc_info=exc)
    body = error_body("The admin site failed; its log says why.", "server_error")
    return Response(body, status_code=500, media_type="application/json")
