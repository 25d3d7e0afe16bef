"""uvicorn's HTTP/1.1 with bounds on what a stranger may send."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import httptools

from gateway.api.http.asgi import Scope
from gateway.api.http.connections import Connections, Pressure
from gateway.api.http.cycle import Cycle
from gateway.api.http.refusals import (
    HEAD_TOO_LONG,
    NO_SUCH_CODING,
    NOT_HTTP,
    TOO_MANY_CONNECTIONS,
    URL_TOO_LONG,
)
from gateway.api.http.watched import LINGER_S, WatchedProtocol

# A connection beyond the limit is there for these; they need neither a teacher nor a body.
HEALTH_PATHS = frozenset({b"/healthz", b"/readyz"})
# A packet full of empty lines must not cost a step for each.
_MOST_STEPS = 64
_END_OF_HEAD = b"\r\n\r\n"
_CHUNKED = -1
_FRAMING = frozenset({b"content-length", b"transfer-encoding", b"expect"})


class RefusedError(Exception):
    """Stops the parser: the request is refused, or must wait."""


def create_protocol(connections: Connections) -> Callable[..., asyncio.Protocol]:
    """Return the factory for uvicorn's `http`; `connections` are those of one server."""

    def create(**server: Any) -> asyncio.Protocol:
        return BoundedProtocol(connections, **server)

    return create


class BoundedProtocol(WatchedProtocol):
    """One connection; its parser gets one message at a time: what follows a request in work waits."""

    def __init__(self, connections: Connections, **server: Any) -> None:
        super().__init__(connections, **server)
        self._tail = b""
        self._body_left = self._announced = self._unparsed_bytes = 0
        self._refusal = NOT_HTTP

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self._is_refused:
            return
        if self._surplus or self._is_in_work():
            self._keep(data)
            return
        pressure = self._all.pressure
        if pressure is None or not pressure.is_tight or not self._shed_unparsed(data, pressure):
            self._feed(data)

    def on_message_begin(self) -> None:
        """See httptools."""
        if self._is_in_work():
            # It began in the packet of the request before, and its place there is not known.
            self._end_after_answer()
            raise RefusedError
        self._is_in_head = True
        self._body_left = self._announced = 0
        self._deadline = self._all.now + (LINGER_S if self._is_in_reserve else self._config.head_timeout_s)
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """See httptools."""
        self.url += url
        if len(self.url) > self._config.url_bytes:
            self._refusal = URL_TOO_LONG
            raise RefusedError

    def on_header(self, name: bytes, value: bytes) -> None:
        """See httptools; also called for trailers, which must not become headers (RFC 9110 section 6.5.1)."""
        if not self._is_in_head:
            return
        name = name.lower()
        self.headers.append((name, value))
        if name in _FRAMING:
            self._read_framing(name, value)

    def on_headers_complete(self) -> None:
        """See httptools."""
        self._is_in_head = False
        self._unparsed_bytes = 0
        self._deadline = math.inf
        if len(self.headers) > self._config.headers:
            self._refusal = HEAD_TOO_LONG
            raise RefusedError
        if self._held_bytes:
            self._hold(0)
        if self._ignores_offer():
            return
        self._body_left = self._announced
        self._all.note_busy(self)
        if self._is_in_reserve and self.url.partition(b"?")[0] not in HEALTH_PATHS:
            self._refusal = TOO_MANY_CONNECTIONS
            raise RefusedError
        pressure = self._all.pressure
        is_shed = pressure is not None and pressure.is_tight and self._is_shed(pressure)
        self._start_request(self._all.shed if is_shed else self.config.loaded_app)

    def on_body(self, body: bytes) -> None:
        """See httptools."""
        self._unparsed_bytes = 0
        if self.cycle.response_complete:
            # The rest of the body of a request that is answered.
            self._deadline = self._all.now + self._config.keep_alive_s
        super().on_body(body)

    def on_message_complete(self) -> None:
        """See httptools."""
        self._body_left = 0
        super().on_message_complete()

    def _read_framing(self, name: bytes, value: bytes) -> None:
        if name == b"content-length":
            self._announced = int(value)
        elif name == b"transfer-encoding":
            self._announced = _CHUNKED
            if value.strip().lower() != b"chunked":
                # Another coding below it is one that we would neither undo nor pass on.
                self._refusal = NO_SUCH_CODING
                raise RefusedError
        elif value.lower() == b"100-continue":
            self.expect_100_continue = True

    def _start_request(self, app: Any) -> None:
        parser = self.parser
        scope: Scope = self.scope  # type: ignore[assignment]
        scope["method"] = parser.get_method().decode("ascii")
        version = parser.get_http_version()
        if version != "1.1":
            if self._announced == _CHUNKED:
                # RFC 9112 section 6.1: such framing is faulty.
                raise RefusedError
            scope["http_version"] = version
        if parser.should_upgrade() and self._should_upgrade():
            return
        scope["raw_path"], scope["query_string"] = _split_target(self.url)
        scope["path"] = unquote(scope["raw_path"].decode("ascii"))
        self.cycle = cycle = Cycle(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=version != "1.0" and parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )
        scope["stepdown.take_arrived"] = cycle.take_arrived
        self._start_asgi_task(cycle, app)

    def _is_shed(self, pressure: Pressure) -> bool:
        if self.url.partition(b"?")[0] in HEALTH_PATHS:
            return False
        authorization = next((value for name, value in self.headers if name == b"authorization"), b"")
        if pressure.is_refused(authorization):
            return True
        pressure.let_in()
        return False

    def _shed_unparsed(self, data: bytes, pressure: Pressure) -> bool:
        """Answer `data` if it is a whole request that is refused; return whether it was.

        What a refusal costs decides how much a worker still does beside five times the load that it can
        bear: 14 us of CPU this way, 62 through the parser and the application. uvloop alone takes 8.
        """
        connections, credential = self._all, b""
        shed = connections.shed
        is_between = not (self._is_in_head or self._body_left)
        if shed is None or not is_between or self._is_in_reserve or self.flow.write_paused:
            return False
        if pressure.asks_who:
            found = connections.whole_request.find_credential(data)
            if found is None:
                return False
            credential = found
        if not pressure.is_refused(credential) or not connections.whole_request.is_post(data):
            return False
        self._coalescing.write_now(shed.write_response())
        self._deadline = connections.now + self._config.keep_alive_s
        connections.note_refused(self)
        return True

    def _feed(self, data: bytes) -> None:
        start = steps = 0
        while start < len(data):
            if start and self._is_in_work():
                self._keep(data[start:])
                return
            steps += 1
            end = self._next_stop(data, start) if steps < _MOST_STEPS else len(data)
            if not self._parse(data if end - start == len(data) else data[start:end]):
                return
            start = end
        if self._body_left <= 0:
            self._tail = data[-3:]
        if self._is_in_head:
            self._hold(self._unparsed_bytes)

    def _next_stop(self, data: bytes, start: int) -> int:
        """Return how far `data` may be parsed without beginning what follows a whole request."""
        if self._body_left > 0:
            return min(len(data), start + self._body_left)
        tail, self._tail = self._tail, b""
        end = 0
        if tail and (found := (tail + data[:3]).find(_END_OF_HEAD)) >= 0:
            end = found + 4 - len(tail)
        if not end:
            found = data.find(_END_OF_HEAD, start)
            end = found + 4 if found >= 0 else len(data)
        if self._body_left == _CHUNKED:
            return end
        return min(end, start + self._config.head_bytes - self._unparsed_bytes + 1)

    def _parse(self, data: bytes) -> bool:
        """Give `data` to the parser; return whether more may follow."""
        self._unparsed_bytes += len(data)
        if self._body_left > 0:
            self._body_left -= len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as stop:
            return self._leave_http(data[stop.args[0] :])
        except httptools.HttpParserError:
            if not self._is_refused:
                self._refuse(self._refusal)
            return False
        if self._unparsed_bytes > self._config.head_bytes:
            self._refuse(HEAD_TOO_LONG)
            return False
        return True

    def _leave_http(self, rest: bytes) -> bool:
        """Take an offer of another protocol, or go on without it."""
        if self._should_upgrade():
            self._all.hand_over(self, self.transport)
            self.handle_websocket_upgrade()
            if rest:
                # RFC 6455 section 4.1: nothing may follow the head before its answer.
                self.transport.abort()
            return False
        if self._ignores_offer():
            return self._parse(self.restart_without_offer()) and (not rest or self._parse(rest))
        self._end_after_answer()
        return False

    def _keep(self, data: bytes) -> None:
        """Keep what follows a request in work, and read no more; too much of it is not waited for."""
        self._surplus += data
        self.flow.pause_reading()
        self._hold(len(self._surplus))
        if len(self._surplus) > self._config.head_bytes or not self._all.can_hold:
            self._end_after_answer()


def _split_target(target: bytes) -> tuple[bytes, bytes]:
    """Return path and query of a request's target, which may be a whole URL (RFC 9112 section 3.2)."""
    if target.startswith(b"/") and b"#" not in target:
        path, _, query = target.partition(b"?")
        return path, query
    url = httptools.parse_url(target)
    return url.path, url.query or b""
