"""Comments of our own in a stream with a silent teacher, for what cuts silent connections on the way."""

from __future__ import annotations

import asyncio
from typing import Self

from gateway.core import Body
from gateway.core.stopping import take_back_stop

COMMENT = b": keep-alive\n\n"
"""WHATWG HTML, section 9.2: a line that begins with a colon is ignored. OpenAI's SDKs crash on any other
event without data."""


class KeepaliveBody:
    """A body of whole events, with a COMMENT between two of them after each `every_s` of silence."""

    def __init__(self, body: Body, every_s: float) -> None:
        self._body = body
        self._every_s = every_s
        self._reading: asyncio.Future[bytes] | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._reading is None:
            self._reading = asyncio.ensure_future(anext(self._body))
        try:
            done, _ = await asyncio.wait((self._reading,), timeout=self._every_s)
        except asyncio.CancelledError as exc:
            # With its message: a body that is cut because the gateway stops ends with an event.
            self._reading.cancel(*exc.args)
            done, _ = await asyncio.wait((self._reading,))
            if self._reading.cancelled() or not take_back_stop(exc):
                raise
        if not done:
            return COMMENT
        reading, self._reading = self._reading, None
        return reading.result()

    async def aclose(self) -> None:
        """End early."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        await self._body.aclose()
