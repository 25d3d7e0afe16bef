"""The HTTP client for what our own does not speak: HTTP/2, and proxies behind TLS or SOCKS.

httpcore2 is the engine of httpx2, the maintained continuation of httpx; what httpx2 adds to it (redirects,
cookies, decoding) is what a proxy must not do.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Self
from urllib.parse import quote, unquote, urlsplit

import httpcore2

from gateway.core import Header
from gateway.errors import RequestError, UpstreamError, UpstreamTimeoutError
from gateway.upstream.base import Call, Config, Reply
from gateway.upstream.client import KEEPALIVE_S, check_lines, has_length, may_send_again
from gateway.upstream.connection import WRITTEN_AT_ONCE_BYTES
from gateway.upstream.headers import end_to_end
from gateway.upstream.httpcore_network import STREAM, Network, NetworkStream, switch_protocol
from gateway.upstream.response import MOST_HEADERS
from gateway.upstream.transport import create_tls, proxy_for

_NOT_SENT = (
    httpcore2.ConnectError,
    httpcore2.ConnectTimeout,
    httpcore2.PoolTimeout,
    httpcore2.ProxyError,
    httpcore2.UnsupportedProtocol,
)
_LOST = (httpcore2.ReadError, httpcore2.WriteError, httpcore2.RemoteProtocolError)
_FAULTS = (
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
    httpcore2.ProxyError,
    httpcore2.TimeoutException,
    httpcore2.UnsupportedProtocol,
)
_HTTP2 = b"HTTP/2"
_VERSIONS = frozenset({b"HTTP/1.0", b"HTTP/1.1", _HTTP2})
_FRAMINGS = frozenset({b"content-length", b"transfer-encoding"})
# Any byte that a request line may hold (RFC 9112 section 3.2); others have to be escaped.
_TARGET_BYTES = bytes(range(0x21, 0x7F)).decode()


class HttpcoreClient:
    """Implements Transport on httpcore's pool, in one event loop."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._pools: dict[tuple[str, bool], httpcore2.AsyncConnectionPool] = {}

    async def send(self, origin: str, call: Call) -> Reply:
        """See upstream.base.Transport."""
        may_repeat = may_send_again(call)
        while True:
            attempt = _Attempt(self._config, call)
            request = _create_request(origin, call, attempt.trace)
            try:
                return await attempt.send(self._pool(origin, call), request)
            except _FAULTS as exc:
                # RFC 9110 section 9.2.2: a kept connection, closed while our request was on its way.
                is_stale = isinstance(exc, _LOST) and not attempt.has_opened
                if not (may_repeat and is_stale):
                    raise _to_upstream_error(exc) from exc
                may_repeat = False

    async def close(self) -> None:
        """Close every connection."""
        for pool in self._pools.values():
            await pool.aclose()

    def _pool(self, origin: str, call: Call) -> httpcore2.AsyncConnectionPool:
        # A websocket's handshake is one of HTTP/1.1.
        key = origin, self._config.http2 and not call.may_switch
        if (pool := self._pools.get(key)) is None:
            pool = self._pools[key] = self._create_pool(*key)
        return pool

    def _create_pool(self, origin: str, has_http2: bool) -> httpcore2.AsyncConnectionPool:
        proxy = proxy_for(origin, self._config)
        return httpcore2.AsyncConnectionPool(
            ssl_context=create_tls(self._config),
            proxy=_create_proxy(proxy, self._config) if proxy else None,
            max_connections=None,
            max_keepalive_connections=None,
            keepalive_expiry=KEEPALIVE_S,
            http2=has_http2,
            network_backend=Network(),
        )


class _Attempt:
    """One call on its way; its patience depends on how far it is."""

    def __init__(self, config: Config, call: Call) -> None:
        self.has_opened = False
        """Whether a connection was opened for it."""
        self._config = config
        self._call = call
        self._first_byte_s = call.first_byte_s or config.first_byte_timeout_s
        self._idle_s = call.idle_s or config.idle_timeout_s
        self._is_on_its_way = False
        self._loop = asyncio.get_running_loop()
        self._patience = asyncio.timeout(config.connect_timeout_s)

    async def trace(self, event: str, info: dict[str, Any]) -> None:
        """Follow httpcore: connecting, sending, waiting for the head."""
        if event.endswith("connect_tcp.started"):
            self.has_opened = True
        elif event.endswith("send_request_headers.started"):
            # A proxy's CONNECT is a request, too, and part of connecting.
            if info["request"].method == self._call.method.encode():
                self._is_on_its_way = True
                self._patience.reschedule(None)
        elif event.endswith("send_request_body.complete") and self._is_on_its_way:
            self._patience.reschedule(self._loop.time() + self._first_byte_s)

    async def send(self, pool: httpcore2.AsyncConnectionPool, request: httpcore2.Request) -> Reply:
        """Return the reply once its head is there."""
        request.extensions["timeout"] = {"write": self._first_byte_s}
        try:
            async with self._patience:
                response = await pool.handle_async_request(request)
        except TimeoutError as exc:
            if not self._is_on_its_way:
                raise UpstreamTimeoutError(
                    "the teacher could not be reached in time", was_sent=False
                ) from exc
            raise UpstreamTimeoutError("the teacher was silent for too long") from exc
        try:
            return await self._to_reply(response)
        except BaseException:
            await response.aclose()
            raise

    async def _to_reply(self, response: httpcore2.Response) -> Reply:
        stream = response.extensions["network_stream"]
        own: NetworkStream = stream.get_extra_info(STREAM)
        is_switched = response.status == 101 and self._call.may_switch
        version = response.extensions["http_version"]
        if version not in _VERSIONS:
            raise UpstreamError(f"the teacher speaks {version.decode(errors='replace')}")
        if not own.has_answered and version != _HTTP2:
            # Bytes behind the last answer, which httpcore had read with it.
            raise httpcore2.RemoteProtocolError("the teacher answered before it was asked")
        if not (200 <= response.status < 600 or is_switched):
            raise UpstreamError(f"the teacher answered with status {response.status}")
        if len(response.headers) > MOST_HEADERS:
            raise UpstreamError("the teacher's answer has too many headers")
        headers = [(name.lower(), value) for name, value in response.headers]
        if {name for name, _ in headers} >= _FRAMINGS:
            raise UpstreamError("the end of the teacher's answer can be read in two ways")
        # A body behind the answer to HEAD would be there before the next call.
        keepalive_s = KEEPALIVE_S if self._call.method != "HEAD" else 0.0
        return Reply(
            status=response.status,
            headers=tuple(end_to_end(headers)),
            body=_Body(
                response,
                self._idle_s,
                own if version != _HTTP2 else None,
                keepalive_s,
            ),
            link=await switch_protocol(stream, own, response) if is_switched else None,
        )


class _Body:
    """A reply's body as core.Body."""

    def __init__(
        self, response: httpcore2.Response, idle_s: float, stream: NetworkStream | None, keepalive_s: float
    ) -> None:
        self._response = response
        self._chunks: AsyncIterator[bytes] = response.aiter_stream()
        self._idle_s = idle_s
        self._stream = stream
        self._keepalive_s = keepalive_s
        self._is_over = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._is_over:
            raise StopAsyncIteration
        try:
            async with asyncio.timeout(self._idle_s):
                return await anext(self._chunks)
        except StopAsyncIteration:
            self._is_over = True
            await self._response.aclose()
            if self._stream and not self._stream.transport.is_closing():
                self._stream.rest(self._keepalive_s)
            raise
        except TimeoutError as exc:
            raise UpstreamTimeoutError("the teacher was silent for too long") from exc
        except _FAULTS as exc:
            raise UpstreamError("the teacher broke off in the middle of its answer") from exc

    async def aclose(self) -> None:
        """Break the connection off unless the reply is whole."""
        self._is_over = True
        await self._response.aclose()


def _create_request(origin: str, call: Call, trace: Any) -> httpcore2.Request:
    check_lines(call)
    url = urlsplit(origin)
    host = url.netloc.encode()
    try:
        return httpcore2.Request(
            call.method.encode(),
            httpcore2.URL(
                scheme=url.scheme.encode(),
                host=(url.hostname or "").encode("idna"),
                port=url.port,
                target=quote(call.target, safe=_TARGET_BYTES).encode(),
            ),
            headers=[(b"host", host), *call.headers, *_framing(call)],
            content=_pieces(call.body),
            extensions={"trace": trace},
        )
    except (ValueError, TypeError) as exc:
        raise RequestError("this request cannot be sent on") from exc


def _framing(call: Call) -> list[Header]:
    if not isinstance(call.body, bytes):
        return [] if has_length(call.headers) else [(b"transfer-encoding", b"chunked")]
    if call.body or call.method in {"POST", "PUT", "PATCH"}:
        return [(b"content-length", b"%d" % len(call.body))]
    return []


async def _pieces(body: bytes | AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if not isinstance(body, bytes):
        async for piece in body:
            yield piece
        return
    for start in range(0, len(body), WRITTEN_AT_ONCE_BYTES):
        yield body[start : start + WRITTEN_AT_ONCE_BYTES]


def _create_proxy(proxy: str, config: Config) -> httpcore2.Proxy:
    url = urlsplit(proxy)
    auth = None
    if url.username is not None:
        auth = unquote(url.username), unquote(url.password or "")
    tls = create_tls(config) if url.scheme == "https" else None
    address = httpcore2.URL(scheme=url.scheme, host=url.hostname or "", port=url.port, target="/")
    return httpcore2.Proxy(address, auth=auth, ssl_context=tls)


def _to_upstream_error(exc: Exception) -> UpstreamError:
    is_late = isinstance(exc, httpcore2.TimeoutException)
    kind = UpstreamTimeoutError if is_late else UpstreamError
    if isinstance(exc, _NOT_SENT):
        return kind(f"the teacher could not be reached: {exc}", was_sent=False)
    if isinstance(exc, _LOST) and not isinstance(exc, httpcore2.RemoteProtocolError):
        return kind(f"the teacher closed the connection: {exc}")
    return kind(f"the teacher closed the connection, or its answer is not HTTP: {exc}")
