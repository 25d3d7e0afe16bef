"""The public site: which path leads where, and what becomes of errors."""

from __future__ import annotations

import logging

from gateway.api.chat import chat, other_than_post
from gateway.api.dependencies import ApiDependencies
from gateway.api.embeddings import embed
from gateway.api.errors import ClientGoneError, to_error_response, unknown_path
from gateway.api.http.asgi import App, Receive, Scope, Send
from gateway.api.http.exchange import Exchange
from gateway.api.models import list_models, show_model
from gateway.api.passthrough import may_pass, pass_through
from gateway.api.responses import respond
from gateway.errors import RequestError

logger = logging.getLogger(__name__)


def create_app(deps: ApiDependencies) -> App:
    """Return the ASGI application which clients talk to.

    Without a framework: its routes would decode paths, merge slashes and read bodies, and what
    passes through must stay as it was sent. Litestar's smallest mount cost 30 us a request as well.
    """

    async def site(scope: Scope, receive: Receive, send: Send) -> None:
        # Websockets never come here: api/websocket.py takes the connection.
        await _exchange(scope, receive, send, deps)

    return site


async def _exchange(scope: Scope, receive: Receive, send: Send, deps: ApiDependencies) -> None:
    exchange = Exchange(scope, receive, send)
    try:
        _demand_one_host(scope)
        await _dispatch(exchange, deps)
    except ClientGoneError:
        logger.debug("client left %s", exchange.id)
    except Exception as fault:
        refusal = to_error_response(fault)
        # After the head only the connection can say that an answer is not whole: the server cuts it.
        if not exchange.has_begun:
            await exchange.refuse(refusal)


def _demand_one_host(scope: Scope) -> None:
    # RFC 9112 section 3.2. Two hosts lead two proxies to two places, and one past the other's rules.
    if scope["http_version"] == "1.1" and [name for name, _ in scope["headers"]].count(b"host") != 1:
        raise RequestError("Exactly one Host header is required.")


async def _dispatch(exchange: Exchange, deps: ApiDependencies) -> None:
    match exchange.method, exchange.path:
        case "POST", "/v1/chat/completions":
            await chat(exchange, deps)
        case _, "/v1/chat/completions":
            await other_than_post(exchange, deps)
        case "POST", "/v1/responses":
            await respond(exchange, deps)
        case "POST", "/v1/embeddings":
            await embed(exchange, deps)
        case "GET", "/v1/models":
            await list_models(exchange, deps)
        case "GET", path if path.startswith("/v1/models/stepdown/"):
            await show_model(exchange, deps)
        case _, path if may_pass(path):
            await pass_through(exchange, deps)
        case _, "/healthz":
            await exchange.reply(200, b'{"status":"alive"}')
        case _, "/readyz":
            await _readiness(exchange, deps)
        case _, path:
            await exchange.refuse(unknown_path(path))


async def _readiness(exchange: Exchange, deps: ApiDependencies) -> None:
    is_ready = deps.is_ready()
    body = b'{"status":"ready"}' if is_ready else b'{"status":"not ready"}'
    await exchange.reply(200 if is_ready else 503, body)
