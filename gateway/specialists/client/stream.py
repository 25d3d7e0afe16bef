"""The stream of a draft after its beginning, as the host sends it."""

from __future__ import annotations

from gateway.core import FinishReason
from gateway.errors import SpecialistError
from gateway.specialists.client.connection import HostConnection
from gateway.specialists.protocol import Drafted, Failed, Piece

PIECE_TIMEOUT_S = 10.0
"""Between two pieces; a host that is silent for longer has broken off."""


class HostDraftStream:
    """A core.DraftStream that reads from the connection to the host."""

    def __init__(self, connection: HostConnection, number: int) -> None:
        """`number` is that of the request that was Opened."""
        self._connection = connection
        self._number = number
        self._is_over = False
        self.finish_reason: FinishReason = "stop"
        self.completion_tokens = 0

    def __aiter__(self) -> HostDraftStream:
        return self

    async def __anext__(self) -> str:
        if self._is_over:
            raise StopAsyncIteration
        try:
            reply = await self._connection.next_reply(self._number, PIECE_TIMEOUT_S)
        except SpecialistError:
            await self.aclose()
            raise
        if isinstance(reply, Piece):
            return reply.text
        self._is_over = True
        if isinstance(reply, Drafted):
            self.finish_reason = reply.prediction.finish_reason
            self.completion_tokens = reply.prediction.completion_tokens
            raise StopAsyncIteration
        raise SpecialistError(reply.reason if isinstance(reply, Failed) else "host down")

    async def aclose(self) -> None:
        """See DraftStream."""
        self._is_over = True
        self._connection.cancel(self._number)
