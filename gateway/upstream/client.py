"""The one HTTP client: bytes out, bytes in, built on aiohttp.

aiohttp and not httpx, whose pool stops answering for ever after some thousand cancelled requests
(`python -m loadtests.churn --client httpx`). Everything aiohttp does of its own accord is off:
decompression, cookies, redirects, quoting of paths, default headers, its hidden second try.
"""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import AsyncIterator
from typing import Self

import aiohttp
import msgspec
from multidict import CIMultiDict
from yarl import URL

from gateway.errors import RequestError, UpstreamError, UpstreamTimeoutError
from gateway.upstream.base import Call, Reply
from gateway.upstream.headers import end_to_end

AUTO_HEADERS = ("accept", "accept-encoding", "content-type", "user-agent")
LONGEST_HEADER_BYTES = 64 * 1024
MOST_HEADERS = 1_000
# aiohttp warns of whole bodies beyond 1 MB: written at once they also ignore back-pressure.
WRITTEN_AT_ONCE_BYTES = 256 * 1024
# Below the 60 s after which common load balancers forget an idle connection without a word.
KEEPALIVE_S = 55


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long each phase of a call may take, in seconds."""

    connect_s: float = 5.0
    """DNS, TCP and TLS together."""
    first_byte_s: float = 600.0
    """From the last byte sent to the head of the reply; OpenAI's SDKs wait as long."""
    idle_s: float = 120.0
    """Between two reads of a body."""
    use_env_proxies: bool = False
    """Whether HTTP_PROXY, HTTPS_PROXY and NO_PROXY count."""


class HttpClient:
    """Sends calls over kept-alive connections, as many at once as are asked for.

    Opens its pool in the loop of the first call; belongs to that loop from then on.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._timeout = aiohttp.ClientTimeout(
            total=None, connect=config.connect_s, sock_read=config.first_byte_s
        )
        self._proxies = urllib.request.getproxies() if config.use_env_proxies else {}
        self._session: aiohttp.ClientSession | None = None

    async def send(self, origin: str, call: Call) -> Reply:
        """Send `call` once to `origin` (scheme://host:port); return when its head has arrived.

        Header values which are not UTF-8 are taken for Latin-1. The reply's headers are
        end-to-end only, names in lower case. Raises RequestError for a target or header no
        HTTP request may carry, UpstreamError when no head came, and whatever the body's
        iterator raises.
        """
        upload = _upload(call.body)
        try:
            if isinstance(call.body, bytes) and isinstance(upload, _Upload):
                # Only the socket's reads are timed, not a teacher who stops reading.
                async with asyncio.timeout(self._config.connect_s + self._config.first_byte_s):
                    response = await self._request(origin, call, upload)
            else:
                response = await self._request(origin, call, upload)
        except ValueError as exc:
            raise RequestError(f"this request cannot be sent on: {exc}") from exc
        except TimeoutError as exc:
            raise UpstreamTimeoutError("the teacher did not take the request in time") from exc
        except UpstreamError:
            if isinstance(upload, _Upload) and upload.fault:
                raise upload.fault from None
            raise
        return self._reply(response)

    async def close(self) -> None:
        """Close every connection; the next call opens the pool again."""
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()

    async def _request(
        self, origin: str, call: Call, upload: bytes | _Upload | None
    ) -> aiohttp.ClientResponse:
        session = self._session or self._open()
        # The whole target as a path: neither split nor quoted, it leaves byte for byte.
        return await session.request(
            call.method,
            URL(origin).with_path(_text(call.target), encoded=True),
            headers=_outgoing(call),
            data=upload,
            allow_redirects=False,
            proxy=self._proxy(origin) if self._proxies else None,
        )

    def _open(self) -> aiohttp.ClientSession:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=AUTO_HEADERS,
            timeout=self._timeout,
            max_line_size=LONGEST_HEADER_BYTES,
            max_field_size=LONGEST_HEADER_BYTES,
            max_headers=MOST_HEADERS,
            middlewares=(_send_once,),
        )
        return self._session

    def _proxy(self, origin: str) -> str | None:
        url = URL(origin)
        if urllib.request.proxy_bypass(url.authority):
            return None
        return self._proxies.get(url.scheme)

    def _reply(self, response: aiohttp.ClientResponse) -> Reply:
        if response.status == 101:
            response.close()
            raise UpstreamError("the teacher switched protocols although nobody asked it to")
        connection = response.connection
        if connection is not None and connection.protocol is not None:
            connection.protocol.read_timeout = self._config.idle_s
            connection.protocol.start_timeout()
        headers = tuple(end_to_end(response.raw_headers))
        return Reply(status=response.status, headers=headers, body=_ReplyBody(response))


class _ReplyBody:
    """The bytes of a reply as they come. A class, for a generator which nobody began has no `finally`."""

    __slots__ = ("_is_closed", "_response")

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self._is_closed = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._is_closed:
            raise StopAsyncIteration
        try:
            chunk = await self._response.content.readany()
        except (aiohttp.ClientError, OSError) as exc:
            self._response.close()
            raise _translated(exc) from exc
        except asyncio.CancelledError:
            self._response.close()
            raise
        if not chunk:
            raise StopAsyncIteration
        return chunk

    async def aclose(self) -> None:
        """Close the connection unless the body has been read to its end."""
        self._is_closed = True
        self._response.close()


class _Upload:
    """A body sent piece by piece. Remembers why its source failed, which aiohttp would hide."""

    def __init__(self, source: AsyncIterator[bytes]) -> None:
        self._source = source
        self.fault: Exception | None = None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._source:
                yield chunk
        except Exception as exc:
            self.fault = exc
            raise


async def _send_once(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Translate aiohttp's errors before it can act on them.

    As a middleware it stands inside of aiohttp's own retry of GET, PUT, DELETE..., which
    would ask a second time what may not be asked twice.
    """
    try:
        return await handler(request)
    except (aiohttp.ClientError, OSError) as exc:
        raise _translated(exc) from exc


def _translated(exc: Exception) -> UpstreamError:
    """Return the error of ours for one of aiohttp's; its text names no header and no body."""
    match exc:
        case aiohttp.ConnectionTimeoutError():
            return UpstreamTimeoutError("the teacher could not be reached in time", was_sent=False)
        case aiohttp.ClientConnectorError():
            return UpstreamError(f"the teacher could not be reached: {exc}", was_sent=False)
        case TimeoutError():
            return UpstreamTimeoutError("the teacher was silent for too long")
        case aiohttp.ClientPayloadError():
            return UpstreamError("the teacher broke off in the middle of its answer")
        case aiohttp.ClientResponseError():
            return UpstreamError(f"the teacher's answer is not HTTP: {exc.message}")
        case _:
            return UpstreamError(f"the teacher closed the connection: {type(exc).__name__}")


def _outgoing(call: Call) -> CIMultiDict[str]:
    headers = CIMultiDict([(name.decode("latin-1").lower(), _text(value)) for name, value in call.headers])
    if isinstance(call.body, bytes) and call.body:
        headers["content-length"] = str(len(call.body))
    return headers


def _upload(body: bytes | AsyncIterator[bytes]) -> bytes | _Upload | None:
    if not isinstance(body, bytes):
        return _Upload(body)
    if len(body) > WRITTEN_AT_ONCE_BYTES:
        return _Upload(_pieces(body))
    return body or None


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), WRITTEN_AT_ONCE_BYTES):
        yield body[start : start + WRITTEN_AT_ONCE_BYTES]


def _text(value: bytes) -> str:
    """Return the text which aiohttp, encoding it as UTF-8, turns into the same bytes again."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
