"""POST /v1/embeddings: the teacher's, or a local encoder's where the policy names one for the model."""

from __future__ import annotations

from gateway.api.chat import chat
from gateway.api.dependencies import ApiDependencies
from gateway.api.http.exchange import Exchange
from gateway.wire.embeddings import read_embeddings


async def embed(exchange: Exchange, deps: ApiDependencies) -> None:
    """Answer one embeddings request, on the same way as a chat completion; raises like it."""
    await chat(exchange, deps, read_embeddings)
