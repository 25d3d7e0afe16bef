"""Streams are asked for their usage where the client did not ask, so that the ledger need not guess."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

import msgspec

from gateway.core import Plan, Request
from gateway.upstream.base import Call, Reply
from gateway.wire.chat.usage_chunk import ask_for_usage

# A model's server may be replaced by one that knows the field.
SPARED_S = 3_600.0
MOST_SPARED = 1_000
_REFUSALS = frozenset({400, 404, 422})

AskTeacher = Callable[[Call], Awaitable[Reply]]


class UsageAsker:
    """Asks for usage where the policy wants it, and spares the models of teachers that refused the field."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._spared: dict[str, float] = {}

    def change_call(self, call: Call, request: Request, plan: Plan) -> Call | None:
        """Return `call` with the question for usage; None where it is not to be asked.

        Only plain bodies are changed, and the answer must come without a content-encoding.
        """
        if not plan.asks_usage or request.surface != "chat" or request.wants_usage or not request.is_streamed:
            return None
        if request.decoded is not None or self._spared.get(request.model, 0.0) > self._clock():
            return None
        body = ask_for_usage(request.body)
        if body is None:
            return None
        headers = tuple(header for header in call.headers if header[0] != b"accept-encoding")
        headers += ((b"accept-encoding", b"identity"),)
        return msgspec.structs.replace(call, body=body, headers=headers)

    async def ask(self, call: Call, changed: Call, request: Request, ask: AskTeacher) -> tuple[Reply, bool]:
        """Return the teacher's reply, and whether its stream has usage that the client did not ask for.

        A refusal may be the changed field's: then the client's own bytes decide. Raises UpstreamError.
        """
        reply = await ask(changed)
        if reply.status not in _REFUSALS:
            return reply, self._can_hide(reply, request)
        await reply.body.aclose()
        plain = await ask(call)
        if plain.status not in _REFUSALS:
            self._spare(request.model)
        return plain, False

    def _can_hide(self, reply: Reply, request: Request) -> bool:
        """Whether the chunk can be kept from the client: not in encoded bytes or of a length announced."""
        names = {name.lower() for name, value in reply.headers if value.lower() != b"identity"}
        if reply.status < 400 and names & {b"content-encoding", b"content-length"}:
            self._spare(request.model)
            return False
        return reply.status < 400

    def _spare(self, model: str) -> None:
        if len(self._spared) >= MOST_SPARED:
            self._spared.clear()
        self._spared[model] = self._clock() + SPARED_S
