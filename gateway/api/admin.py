"""The admin site, on its own port: figures for machines and for people."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import msgspec
from litestar import Litestar, Request, Response, get
from litestar.exceptions import HTTPException

from gateway.wire.errors import error_body

logger = logging.getLogger(__name__)


def create_admin(metrics: Callable[[], bytes], status: Callable[[], dict[str, object]]) -> Litestar:
    """Return the ASGI application behind the admin port.

    `metrics` is Prometheus text; both may block and are called in a thread.
    """

    @get("/metrics", sync_to_thread=True)
    def show_metrics() -> Response[bytes]:
        return Response(metrics(), media_type="text/plain; version=0.0.4")

    @get("/status", sync_to_thread=True)
    def show_status() -> Response[bytes]:
        return Response(msgspec.json.encode(status()), media_type="application/json")

    @get("/healthz", sync_to_thread=False)
    def show_health() -> Response[bytes]:
        return Response(b'{"status":"alive"}', media_type="application/json")

    return Litestar(
        [show_metrics, show_status, show_health],
        openapi_config=None,
        logging_config=None,
        exception_handlers={HTTPException: _refused, Exception: _failed},
    )


def _refused(_: Request[Any, Any, Any], fault: HTTPException) -> Response[bytes]:
    body = error_body(fault.detail, "invalid_request_error")
    return Response(body, status_code=fault.status_code, media_type="application/json")


def _failed(_: Request[Any, Any, Any], fault: Exception) -> Response[bytes]:
    logger.error("the admin site failed", exc_info=fault)
    body = error_body("The admin site failed; its log says why.", "server_error")
    return Response(body, status_code=500, media_type="application/json")
