"""The bounds of a request's body, in bytes and in seconds: servers stop neither endless nor slow bodies."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from gateway.api.errors import ClientGoneError
from gateway.api.http.asgi import AsgiMessage, Receive
from gateway.api.http.memory import FREE_BYTES, BodyMemory
from gateway.core import Header
from gateway.errors import RequestError
from gateway.wire.large_body import LARGE_BYTES

TakeArrived = Callable[[], bytes | None]
"""Returns a body that has arrived as a whole; None for one that must be waited for."""

LONGEST_UPLOAD_S = 3600.0
FORM_BYTES = 1 << 20
"""What the form around an uploaded file may take."""


class BodyLimit(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of one request body.

    The reader may wait `total_s` in all, and once n bytes are there no longer than
    `grace_s + n / min_bytes_per_s` in all, with a higher rate where the announced size needs it to arrive
    in `total_s`. Only time spent reading counts.
    """

    max_bytes: int
    total_s: float
    grace_s: float = 10.0
    min_bytes_per_s: float = 1024.0


class BodyLimits(msgspec.Struct, frozen=True, kw_only=True):
    """`chat` bodies are held in memory; an `upload` passes through, piece by piece."""

    # OpenAI takes 50 MB of files in one request (Guides, "PDF files").
    chat: BodyLimit = BodyLimit(max_bytes=50 << 20, total_s=300.0)
    # OpenAI takes files of up to 512 MB (API reference, "Upload file").
    upload: BodyLimit = BodyLimit(max_bytes=(512 << 20) + FORM_BYTES, total_s=LONGEST_UPLOAD_S)


def announced_bytes(headers: tuple[Header, ...]) -> int | None:
    """Return the size of the body as announced; None for a chunked body: it announces none."""
    announced = 0
    for name, value in headers:
        if name == b"transfer-encoding":
            return None
        if name == b"content-length":
            announced = int(value)
    return announced


class BodyReader:
    """Reads one request body, piece by piece, within its limit."""

    def __init__(
        self,
        receive: Receive,
        headers: tuple[Header, ...],
        limit: BodyLimit,
        memory: BodyMemory | None = None,
        take_arrived: TakeArrived | None = None,
    ) -> None:
        self._receive = receive
        self._limit = limit
        self._memory = memory
        self._take_arrived = take_arrived
        self._announced = announced_bytes(headers)
        # Slower it would not arrive in time anyway, and until then hold its room.
        self._min_rate = max(limit.min_bytes_per_s, (self._announced or 0) / limit.total_s)
        self._bytes = 0
        self._waited_s = 0.0
        self.is_over = False

    async def read_all(self) -> bytes:
        """Return the whole body. Raises like `read_piece`, and RequestError (503) without room for it."""
        if self._take_arrived and (whole := self._take_arrived()) is not None:
            return await self._check_whole(whole)
        pieces: list[bytes] = []
        try:
            while not self.is_over:
                pieces.append(await self.read_piece())
                if self._bytes > FREE_BYTES:
                    await self._cover(self._bytes)
        except BaseException:
            # A refused client is read on for a while: what has arrived is let go before that.
            pieces.clear()
            if self._memory is not None:
                self._memory.release()
            raise
        if len(pieces) == 1:
            return pieces[0]
        if self._bytes > LARGE_BYTES:
            # 31 MB take 50 ms, most of it for new memory, and no thread waits meanwhile: it needs no GIL.
            return await asyncio.to_thread(b"".join, pieces)
        return b"".join(pieces)

    async def read_piece(self) -> bytes:
        """Return the next bytes, perhaps none; `is_over` says whether they were the last.

        Raises RequestError for a body too large (413) or too slow (408), ClientGoneError.
        """
        if self._announced is not None and self._announced > self._limit.max_bytes:
            raise self._too_large()
        message = await self._next_message()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        body: bytes = message["body"]
        self._bytes += len(body)
        if self._bytes > self._limit.max_bytes:
            raise self._too_large()
        self.is_over = not message["more_body"]
        return body

    async def _check_whole(self, body: bytes) -> bytes:
        self.is_over = True
        self._bytes = len(body)
        if self._bytes > self._limit.max_bytes:
            raise self._too_large()
        if self._bytes > FREE_BYTES:
            await self._cover(self._bytes)
        return body

    async def _cover(self, size: int) -> None:
        if self._memory is not None:
            await self._memory.cover(size, self._announced)

    async def _next_message(self) -> AsgiMessage:
        limit = self._limit
        allowed_s = min(limit.total_s, limit.grace_s + self._bytes / self._min_rate)
        clock = asyncio.get_running_loop().time
        asked_at = clock()
        try:
            async with asyncio.timeout(allowed_s - self._waited_s):
                return await self._receive()
        except TimeoutError as exc:
            raise RequestError(
                f"The request body came too slowly: {self._bytes} bytes in {allowed_s:.0f} seconds.",
                status=408,
                code="request_timeout",
            ) from exc
        finally:
            self._waited_s += clock() - asked_at

    def _too_large(self) -> RequestError:
        return RequestError(
            f"The request body is larger than the {self._limit.max_bytes} bytes allowed here.",
            status=413,
            code="request_too_large",
        )
