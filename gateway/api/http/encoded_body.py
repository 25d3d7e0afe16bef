"""Bodies with a content-encoding, decoded beside the event loop."""

from __future__ import annotations

import asyncio

from gateway.core import Header
from gateway.wire.content_encoding import content_codings, decode_body

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
