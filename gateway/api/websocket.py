"""Websockets below /v1/: once the teacher agrees, bytes pass both ways as they came.

Fragments, compression, pings and close codes concern the two ends alone. What is said is read on its way:
see `tunnel`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from http.client import responses
from typing import Protocol, cast

from gateway.api.admission import admit_request
from gateway.api.auth import OPEN, Caller
from gateway.api.dependencies import ApiDependencies
from gateway.api.errors import ErrorResponse, inexact_path, refuse_loop, to_error_response
from gateway.api.foreign_pages import refuse_foreign_pages
from gateway.api.http.response_headers import (
    REQUEST_ID,
    json_headers,
    new_request_id,
    refusal_labels,
    with_standard_headers,
)
from gateway.api.in_flight import find_credential, overloaded
from gateway.api.incoming import describe_incoming, unread_request
from gateway.api.model_reader import read_query_model
from gateway.api.passthrough import may_pass
from gateway.api.tunnel import SplicedTunnel
from gateway.api.under_way import UnderWay
from gateway.cascade.passage import Tunnel
from gateway.core import Header, Refusal
from gateway.errors import RequestError
from gateway.store.keys import KeyFacts
from gateway.upstream.base import Link, Reply
from gateway.upstream.websocket_headers import UPGRADE, is_compressed, offered_key, without_takeover
from gateway.wire.canonical_path import read_path
from gateway.wire.endpoints import find_resource

MAX_REFUSAL_BYTES = 1 << 20
QUIET_POLL_S = 0.1


class ServerState(Protocol):
    """The state that uvicorn shares with its protocols."""

    @property
    def tasks(self) -> set[asyncio.Task[None]]:
        """Awaited for a while when the server stops, then cancelled."""


def create_websockets(deps: ApiDependencies) -> Callable[..., asyncio.Protocol]:
    """Return the factory for uvicorn's `ws`, called for each connection that asks for a websocket.

    Its result gets the transport and then, as one piece, the head of the request.
    """

    def create_handshake(config: object, server_state: ServerState, app_state: object) -> asyncio.Protocol:
        return Handshake(deps, server_state)

    return create_handshake


class Handshake(asyncio.Protocol):
    """A client that asked for a websocket, until the teacher has answered."""

    def __init__(self, deps: ApiDependencies, server: ServerState) -> None:
        self._deps = deps
        self._server = server
        self._id = new_request_id()
        self._task: asyncio.Task[None] | None = None
        self._work: UnderWay | None = None
        self._path = ""
        self._has_begun = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Take the head; a client that sends more before the answer breaks RFC 6455 section 4.1."""
        if self._task is not None:
            return self._transport.abort()
        # The task lives as long as the websocket: by it the server knows and, stopping, ends it.
        self._task = asyncio.get_running_loop().create_task(self._serve(data))
        self._server.tasks.add(self._task)
        return self._task.add_done_callback(self._server.tasks.discard)

    def connection_lost(self, exc: Exception | None) -> None:
        """Give up: the client no longer waits for the teacher's answer."""
        if self._task is not None:
            self._task.cancel()

    async def _serve(self, head: bytes) -> None:
        try:
            tunnel = await self._ask_teacher(*_parse_head(head))
            if tunnel.reply.link:
                await self._splice(tunnel, tunnel.reply.link)
            else:
                await self._relay(tunnel.reply)
        except Exception as exc:
            # The task's outermost edge. After a head only the connection can say that something failed.
            error = to_error_response(exc, self._id)
            if not self._has_begun:
                self._send_error(error)
        except asyncio.CancelledError:
            # A key that has ended: the tunnel is closed on both sides by now.
            if self._work is None or not self._work.is_ended():
                raise
        finally:
            if self._work:
                self._work.close()
            self._transport.close()

    async def _ask_teacher(self, method: str, target: bytes, headers: tuple[Header, ...]) -> Tunnel:
        received_at = time.monotonic()
        refuse_loop(headers, self._deps.instance)
        path = read_path(target.partition(b"?")[0])
        self._path = path.path
        if self._deps.has_own_key and not path.is_exact:
            raise inexact_path(path.path)
        if method != "GET" or not may_pass(target, path):
            raise RequestError("No websocket is here.", status=404, code="unknown_url")
        caller = await self._admit(headers, path.path)
        resource = find_resource(method, path.path)
        incoming = describe_incoming(
            caller,
            request_id=self._id,
            resource=resource,
            target=target,
            headers=headers,
            received_at=received_at,
            may_go_unread=not self._deps.has_own_key,
        )
        model = read_query_model(target, is_strict=self._deps.has_own_key)
        tunnel = await self._deps.open_tunnel(unread_request(incoming, model))
        if tunnel.reply.status in (401, 403):
            self._deps.authenticator.observe_status(caller, tunnel.reply.status)
        return tunnel

    async def _admit(self, headers: tuple[Header, ...], path: str) -> Caller:
        key = offered_key(headers)
        if key and not any(name == b"authorization" for name, _ in headers):
            headers = (*headers, (b"authorization", b"Bearer " + key))
        # The edge asks for other requests, not for handshakes.
        if self._deps.in_flight.is_refused(find_credential(headers)):
            raise overloaded()
        self._work = await admit_request(self._deps, headers, path, 0)
        caller = self._work.caller
        if caller.id == OPEN:
            refuse_foreign_pages(headers, self._deps.names)
        return caller

    async def _splice(self, tunnel: Tunnel, link: Link) -> None:
        reply = tunnel.reply
        spliced = SplicedTunnel(
            self._transport,
            link,
            tunnel.session,
            self._deps.memory,
            lambda refusal: self._note_refusal(to_error_response(refusal, self._id)),
            takes_compressed=is_compressed(reply.headers),
        )
        # Bytes that came behind the teacher's head follow with the loop's next turn.
        self._write_head(reply.status, (*without_takeover(reply.headers), *UPGRADE))
        if self._work:
            self._work.follow = lambda key: self._follow_key(tunnel, key)
        leaving = asyncio.create_task(self._leave_when_quiet(spliced))
        try:
            await spliced.wait_closed()
        except asyncio.CancelledError:
            spliced.say_last((self._work and self._work.ended_by) or _stopping())
            raise
        finally:
            leaving.cancel()
            spliced.close()

    async def _leave_when_quiet(self, spliced: SplicedTunnel) -> None:
        """End a websocket that would hold the end of the worker for nothing: its client can connect again."""
        await self._deps.wait_until_closing()
        while True:
            if spliced.end_if_quiet(_stopping()):
                return
            await asyncio.sleep(QUIET_POLL_S)

    def _follow_key(self, tunnel: Tunnel, key: KeyFacts) -> None:
        tunnel.session.follow(key.grant)
        if self._deps.key_limits:
            self._deps.key_limits.follow(key)

    async def _relay(self, reply: Reply) -> None:
        try:
            self._write_head(reply.status, (*reply.headers, (b"connection", b"close")))
            size = 0
            async for piece in reply.body:
                size += len(piece)
                if size > MAX_REFUSAL_BYTES:
                    return self._transport.abort()
                self._transport.write(piece)
        finally:
            await reply.body.aclose()

    def _send_error(self, error: ErrorResponse) -> None:
        own = json_headers(error.body, self._id)
        labels = refusal_labels(error.reason) if self._deps.show_labels else ()
        self._note_refusal(error)
        self._write_head(error.status, (*own, *error.headers, *labels, (b"connection", b"close")))
        self._transport.write(error.body)

    def _note_refusal(self, error: ErrorResponse) -> None:
        name = self._work.caller.id if self._work else error.key
        self._deps.count_refusal(error.status, error.reason, name, error.policy)
        if not error.is_of_teacher:
            refusal = Refusal(
                request_id=self._id,
                status=error.status,
                reason=error.reason,
                key=name,
                policy=error.policy,
                method="GET",
                path=self._path,
            )
            self._deps.record_refusal(refusal)

    def _write_head(self, status: int, headers: tuple[Header, ...]) -> None:
        self._has_begun = True
        limits = self._work.headers if self._work else ()
        dropped = {REQUEST_ID, *(name for name, _ in limits)}
        kept = [*(header for header in headers if header[0] not in dropped), *limits]
        kept = with_standard_headers(kept, self._id)
        first = b"HTTP/1.1 %d %b" % (status, responses.get(status, "").encode())
        lines = [first, *(b"%b: %b" % header for header in kept)]
        self._transport.write(b"\r\n".join([*lines, b"", b""]))


def _stopping() -> RequestError:
    return RequestError(
        "The gateway is stopping; connect again.", status=503, code="gateway_stopping", kind="server_error"
    )


def _parse_head(head: bytes) -> tuple[str, bytes, tuple[Header, ...]]:
    """Return method, target and headers of a head that the server has parsed and written again."""
    first, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    method, target, _ = first.split(b" ")
    headers = (line.partition(b": ") for line in lines)
    return method.decode(), target, tuple((name, value) for name, _, value in headers)
