"""Bodies that are encoded or large, read beside the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from gateway.core import Header
from gateway.wire.content_encoding import content_codings, decode_body
from gateway.wire.large_body import LARGE_BYTES, refuse_costly_body

_Read = TypeVar("_Read")

DECODED_AT_ONCE = 2


class BodyDecoder:
    """Decodes bodies in threads, a few at a time: a few bytes may become as many as the limit allows."""

    def __init__(self, at_once: int = DECODED_AT_ONCE) -> None:
        self._turns = asyncio.Semaphore(at_once)

    async def decode(self, headers: tuple[Header, ...], body: bytes, limit_bytes: int) -> bytes | None:
        """Return `body` decoded, None if it has no content-encoding. Raises like wire's `decode_body`."""
        if not content_codings(headers):
            return None
        async with self._turns:
            return await asyncio.to_thread(decode_body, headers, body, limit_bytes)

    async def read(self, content: bytes, read: Callable[[], _Read]) -> _Read:
        """Return what `read` makes of a JSON body; of a large one beside the event loop.

        Raises UnreadableBodyError for one that holds more than any API takes, and whatever `read` raises.
        """
        if len(content) <= LARGE_BYTES:
            return read()
        async with self._turns:
            await asyncio.to_thread(refuse_costly_body, content)
            return await asyncio.to_thread(read)
