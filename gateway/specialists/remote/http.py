"""Requests to the servers of one engine: a pool of connections, and errors as countable reasons."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpcore2
import msgspec

from gateway.errors import RegistryError, SpecialistError
from gateway.wire.sse import EventSplitter, iter_events

_MOST_CONNECTIONS = 256
_LONGEST_BODY_BYTES = 1 << 20

DOWN, LOST, NOT_FOUND, REFUSED = "engine down", "engine lost", "model not found", "engine refused"
"""It cannot be reached or fails; the connection broke; it knows no such model or path; it will not."""


class EngineHttp:
    """For one event loop. Every failure is a SpecialistError."""

    def __init__(self, api_key_file: str | None, ca_file: str | None) -> None:
        """Raises RegistryError if the file of authorities cannot be read."""
        self._api_key_file = api_key_file
        try:
            context = ssl.create_default_context(cafile=ca_file)
        except OSError as exc:
            raise RegistryError(f"ca_file {ca_file}: {exc}") from exc
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=context, max_connections=_MOST_CONNECTIONS, keepalive_expiry=30.0
        )

    async def get_json(self, url: str) -> Any:
        """Return what lies at `url`, None if there is no such place, or not JSON."""
        return await self._get_json(url, {NOT_FOUND})

    async def get_optional_json(self, url: str) -> Any:
        """Return the same, and None if the server refuses it: a gateway may close what is not OpenAI's."""
        return await self._get_json(url, {NOT_FOUND, REFUSED})

    async def post_json(self, url: str, body: object) -> tuple[int, bytes]:
        """Return status and body of the answer, whatever they are."""
        async with self._send("POST", url, body, is_checked=False) as response:
            return response.status, await _read(response)

    async def stream_events(self, url: str, body: object) -> AsyncGenerator[bytes, None]:
        """Yield the data of each event of the answer, `[DONE]` too; close it to stop the server."""
        splitter = EventSplitter()
        async with self._send("POST", url, body) as response:
            async for piece in response.aiter_stream():
                for event in iter_events(splitter.feed(piece)):
                    yield event
            for event in iter_events(splitter.take_rest()):
                yield event

    async def _get_json(self, url: str, absences: set[str]) -> Any:
        try:
            async with self._send("GET", url) as response:
                return msgspec.json.decode(await _read(response))
        except SpecialistError as exc:
            if exc.reason in absences:
                return None
            raise
        except ValueError:
            return None

    async def close(self) -> None:
        """Close all connections."""
        await self._pool.aclose()

    @asynccontextmanager
    async def _send(
        self, method: str, url: str, body: object = None, *, is_checked: bool = True
    ) -> AsyncIterator[httpcore2.Response]:
        headers = [
            (b"accept", b"application/json"),
            (b"content-type", b"application/json"),
            *self._authorize(),
        ]
        content = msgspec.json.encode(body) if body is not None else None
        try:
            async with self._pool.stream(method, url, headers=headers, content=content) as response:
                if is_checked and response.status != 200:
                    raise SpecialistError(_reason_of(response.status), f"status {response.status}")
                yield response
        except (httpcore2.ConnectError, httpcore2.ConnectTimeout, httpcore2.PoolTimeout) as exc:
            raise SpecialistError(DOWN, type(exc).__name__) from exc
        except (httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.TimeoutException) as exc:
            raise SpecialistError(LOST, type(exc).__name__) from exc

    def _authorize(self) -> list[tuple[bytes, bytes]]:
        if self._api_key_file is None:
            return []
        try:
            key = Path(self._api_key_file).read_text().strip()
        except OSError as exc:
            raise SpecialistError("engine key unreadable", type(exc).__name__) from exc
        return [(b"authorization", f"Bearer {key}".encode())]


async def _read(response: httpcore2.Response) -> bytes:
    pieces, size = [], 0
    async for piece in response.aiter_stream():
        pieces.append(piece)
        size += len(piece)
        if size > _LONGEST_BODY_BYTES:
            raise SpecialistError(REFUSED, "its answer is too long")
    return b"".join(pieces)


def _reason_of(status: int) -> str:
    if status in {429, 503, 529}:
        return "overloaded"
    if status in {404, 405, 501}:
        return NOT_FOUND
    return DOWN if status >= 500 else REFUSED
