"""The one HTTP client: bytes out, bytes in, nothing added, nothing undone.

Our own, on httptools' parser, because a request through it costs a fraction of the CPU of one through
aiohttp (`python -m loadtests.churn`, `--client aiohttp`), and because httpx's pool stops answering for
ever after some thousand cancelled requests (`--client httpx`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine, Iterable

from gateway.core import Header
from gateway.errors import RequestError, UpstreamError
from gateway.upstream.base import Call, Config, Reply
from gateway.upstream.connect import open_connection
from gateway.upstream.connection import Connection
from gateway.upstream.headers import end_to_end
from gateway.upstream.origin import Origin, origin_of
from gateway.upstream.response import Response
from gateway.upstream.transport import create_tls, proxy_for

# Below the 60 s after which common load balancers forget an idle connection without a word.
KEEPALIVE_S = 55
# Lest a busy connection lead for ever to where the teacher's name has led once.
LONGEST_LIFE_S = 3_600
_BODILESS_METHODS = frozenset({"GET", "HEAD", "DELETE", "OPTIONS", "TRACE"})


class HttpClient:
    """Sends calls over kept-alive connections, as many at once as are asked for, in one event loop."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._sites: dict[str, Origin] = {}
        self._idle: dict[str, deque[Connection]] = {}

    async def send(self, origin: str, call: Call) -> Reply:
        """See upstream.base.Transport."""
        site = self._sites.get(origin) or self._site(origin)
        is_chunked = not isinstance(call.body, bytes) and not has_length(call.headers)
        head = _head(call, site, is_chunked=is_chunked)
        response: Response | None = None
        connection = self._kept(origin)
        if connection is not None:
            try:
                response = await self._ask(connection, head, call, is_chunked=is_chunked)
            except UpstreamError:
                # RFC 9110 section 9.2.2: the teacher closed it while our request was on its way.
                if not (connection.was_lost_unanswered and may_send_again(call)):
                    raise
        if response is None:
            connection = await self._opened(origin, site)
            response = await self._ask(connection, head, call, is_chunked=is_chunked)
        response.idle_s = call.idle_s or self._config.idle_timeout_s
        return Reply(
            status=response.status,
            headers=tuple(end_to_end(response.headers)),
            body=response,
            link=connection if response.has_switched else None,
        )

    async def close(self) -> None:
        """Close every idle connection."""
        for idle in self._idle.values():
            while idle:
                idle.pop().close()

    def _ask(
        self, connection: Connection, head: bytes, call: Call, *, is_chunked: bool
    ) -> Coroutine[None, None, Response]:
        return connection.ask(
            head,
            call.body,
            is_head=call.method == "HEAD",
            is_chunked=is_chunked,
            may_switch=call.may_switch,
            wait_s=call.first_byte_s or self._config.first_byte_timeout_s,
        )

    def _site(self, origin: str) -> Origin:
        site = self._sites[origin] = origin_of(
            origin, proxy_for(origin, self._config), lambda: create_tls(self._config)
        )
        self._idle[origin] = deque()
        return site

    def _kept(self, origin: str) -> Connection | None:
        idle = self._idle[origin]
        while idle:
            # The youngest first: the others may close for want of use.
            if (connection := idle.pop()).is_open:
                return connection
        return None

    async def _opened(self, origin: str, site: Origin) -> Connection:
        idle = self._idle[origin]
        loop = asyncio.get_running_loop()
        last_use = loop.time() + LONGEST_LIFE_S

        def release(connection: Connection) -> None:
            if loop.time() > last_use:
                connection.close()
                return
            connection.expect_within(KEEPALIVE_S)
            while idle and not idle[0].is_open:
                idle.popleft()
            idle.append(connection)

        return await open_connection(site, release, self._config.connect_timeout_s)


def _head(call: Call, site: Origin, *, is_chunked: bool) -> bytes:
    """Return the request's head. Raises RequestError for what would not be one line each."""
    lines = [b"%b %b%b HTTP/1.1\r\n" % (call.method.encode(), site.prefix, call.target)]
    lines.append(b"host: %b\r\n" % site.authority)
    lines += [b"%b: %b\r\n" % header for header in call.headers]
    if is_chunked:
        lines.append(b"transfer-encoding: chunked\r\n")
    elif isinstance(call.body, bytes) and (call.body or call.method not in _BODILESS_METHODS):
        lines.append(b"content-length: %d\r\n" % len(call.body))
    if site.proxy and site.proxy.credential and not site.tls:
        lines.append(b"proxy-authorization: %b\r\n" % site.proxy.credential)
    head = b"".join(lines)
    if (
        head.count(b"\n") != len(lines)
        or head.count(b"\r") != len(lines)
        or b"\0" in head
        or b" " in call.target
    ):
        raise _unsendable()
    return head + b"\r\n"


def check_lines(call: Call) -> None:
    """Raise RequestError for a target or header that would not be one line each."""
    parts = (call.target, *(part for header in call.headers for part in header))
    if b" " in call.target or any(sign in part for part in parts for sign in (b"\r", b"\n", b"\0")):
        raise _unsendable()


def has_length(headers: Iterable[Header]) -> bool:
    """Whether the headers of a request tell the length of its body."""
    return any(name == b"content-length" for name, _ in headers)


def may_send_again(call: Call) -> bool:
    """Whether a call whose kept connection was closed may be sent over another."""
    return isinstance(call.body, bytes) and (call.is_repeatable or call.is_idempotent)


def _unsendable() -> RequestError:
    return RequestError("this request cannot be sent on: its target or a header holds a line break")
