"""The public application: the route of each path, and the answer to each error."""

from __future__ import annotations

import asyncio
import logging

from gateway.api.admission import give_back_tokens
from gateway.api.chat import answer_other_methods, answer_request
from gateway.api.dependencies import ApiDependencies
from gateway.api.errors import (
    ClientGoneError,
    inexact_path,
    refuse_loop,
    stopping,
    stream_cut,
    to_error_response,
    unknown_path,
    wrong_method,
)
from gateway.api.feedback import take_feedback
from gateway.api.foreign_pages import refuse_foreign_pages
from gateway.api.http.asgi import App, Receive, Scope, Send
from gateway.api.http.exchange import Exchange
from gateway.api.models import list_models, show_model
from gateway.api.passthrough import may_pass, pass_through
from gateway.api.under_way import UnderWay
from gateway.core.stopping import take_back_stop
from gateway.errors import RequestError
from gateway.wire.chat.request import read_chat
from gateway.wire.embeddings import read_embeddings
from gateway.wire.responses.request import read_responses

logger = logging.getLogger(__name__)

# Less than a stopping server leaves for last words (processes/drain.py).
STOP_LINGER_S = 0.2


def create_app(deps: ApiDependencies) -> App:
    """Return the ASGI application that clients talk to.

    Without a framework: its routes would decode paths, merge slashes and read bodies, and a request
    that passes through must stay as it was sent. Litestar's smallest mount cost 30 us per request as well.
    """

    # Websockets never come here: api/websocket.py takes the connection.
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(
            scope,
            receive,
            send,
            show_labels=deps.show_labels,
            count_refusal=deps.count_refusal,
            record_refusal=deps.record_refusal,
            memory=deps.memory,
        )
        try:
            _require_one_host(scope)
            refuse_loop(exchange.headers, deps.instance)
            if deps.authenticator.is_open:
                path = exchange.path
                refuse_foreign_pages(exchange.headers, deps.names, path.path if path.is_exact else "")
            await _dispatch(exchange, deps)
        except ClientGoneError:
            logger.debug("client left %s", exchange.id)
        except asyncio.CancelledError as exc:
            if exchange.under_way is not None and exchange.under_way.is_ended():
                await _end_early(exchange, exchange.under_way)
            elif not exchange.is_finished and take_back_stop(exc):
                await _end_to_stop(exchange)
            else:
                raise
        except Exception as exc:
            error = to_error_response(exc, exchange.id)
            give_back_tokens(exchange, error.status)
            # After the head only the connection can say that an answer is not whole: the server cuts it.
            if not exchange.has_begun:
                await exchange.send_error(error)
        finally:
            exchange.close()

    return app


def _require_one_host(scope: Scope) -> None:
    # RFC 9112 section 3.2. Two hosts lead two proxies to two places, and one past the other's rules.
    if scope["http_version"] == "1.1" and [name for name, _ in scope["headers"]].count(b"host") != 1:
        raise RequestError("Exactly one Host header is required.")


async def _end_early(exchange: Exchange, under_way: UnderWay) -> None:
    """Tell a client that its key has ended, in the middle of its answer too."""
    assert under_way.ended_by is not None
    if exchange.has_begun:
        await exchange.break_off(under_way.ended_by)
    else:
        await exchange.send_error(to_error_response(under_way.ended_by, exchange.id))


async def _end_to_stop(exchange: Exchange) -> None:
    """Tell a client that the gateway stops before its answer is whole.

    Here a stream comes that its client was slow to read: while a piece is awaited, cascade ends it.
    """
    if exchange.has_begun:
        await exchange.break_off(stream_cut())
    else:
        await exchange.send_error(stopping(), STOP_LINGER_S)


async def _dispatch(exchange: Exchange, deps: ApiDependencies) -> None:
    path = exchange.path
    if deps.has_own_key and not path.is_exact:
        raise inexact_path(path.path)
    # In forward mode another spelling is decided on as the canonical one, and arrives as it was sent.
    passes = may_pass(exchange.target, path)
    match exchange.method, path.path if passes or path.is_exact else "":
        # TRACE sends the request's headers back, with our credential among them (RFC 9110 section 9.3.8).
        case (("TRACE" | "CONNECT"), _):
            await exchange.send_error(wrong_method(b"GET, POST, DELETE"))
        case "POST", "/v1/chat/completions":
            await answer_request(exchange, deps, read_chat)
        case _, "/v1/chat/completions":
            await answer_other_methods(exchange, deps)
        # Every other path below these two (stored responses, their input items, cancelling,
        # compacting, counting) is the teacher's and passes through.
        case "POST", ("/v1/responses" | "/v1/embeddings") as name:
            is_embeddings = name == "/v1/embeddings"
            await answer_request(exchange, deps, read_embeddings if is_embeddings else read_responses)
        case "POST", "/v1/feedback":
            await take_feedback(exchange, deps)
        case "GET", "/v1/models":
            await list_models(exchange, deps)
        case "GET", name if name.startswith("/v1/models/stepdown/"):
            await show_model(exchange, deps)
        case _ if passes:
            await pass_through(exchange, deps)
        case _, "/healthz":
            await exchange.send_json(200, b'{"status":"alive"}')
        case _, "/readyz":
            await _send_readiness(exchange, deps)
        case _:
            await exchange.send_error(unknown_path(path.path))


async def _send_readiness(exchange: Exchange, deps: ApiDependencies) -> None:
    is_ready = deps.is_ready()
    body = b'{"status":"ready"}' if is_ready else b'{"status":"not ready"}'
    await exchange.send_json(200 if is_ready else 503, body)
