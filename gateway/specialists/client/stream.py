"""The rest of a draft whose beginning was decided on, as the host writes it."""

from __future__ import annotations

from gateway.core import FinishReason
from gateway.errors import SpecialistError
from gateway.specialists.client.connection import HostConnection
from gateway.specialists.protocol import Drafted, Failed, Piece

PATIENCE_S = 10.0
"""Between two pieces; a host which is silent for so long has broken off."""


class HostDraftStream:
    """A core.Rest which reads from the line to the host."""

    def __init__(self, connection: HostConnection, number: int) -> None:
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
            reply = await self._connection.next_of(self._number, PATIENCE_S)
        except SpecialistError:
            await self.aclose()
            raise
        if isinstance(reply, Piece):
            return reply.text
        self._is_over = True
        if isinstance(reply, Drafted):
            self.finish_reason, self.completion_tokens = reply.finish_reason, reply.completion_tokens
            raise StopAsyncIteration
        raise SpecialistError(reply.reason if isinstance(reply, Failed) else "host down")

    async def aclose(self) -> None:
        """See Rest."""
        self._is_over = True
        self._connection.call_off(self._number)
