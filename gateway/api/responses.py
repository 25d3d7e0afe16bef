"""POST /v1/responses: the other request which a specialist may answer.

All else below that path (stored responses, their input items, cancelling, compacting, counting)
is the teacher's and passes through.
"""

from __future__ import annotations

from gateway.api.chat import chat
from gateway.api.dependencies import ApiDependencies
from gateway.api.http.exchange import Exchange
from gateway.wire.responses.request import read_responses


async def respond(exchange: Exchange, deps: ApiDependencies) -> None:
    """Answer one request of the Responses API, on the same way as a chat completion; raises like it."""
    await chat(exchange, deps, read_responses)
