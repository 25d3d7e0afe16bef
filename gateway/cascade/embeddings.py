"""The embeddings of a local encoder, for the models for which a policy names one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import msgspec

from gateway.cascade.answers import Sources, from_content
from gateway.cascade.base import RequestState
from gateway.core import Answer, Verdict
from gateway.errors import RequestError, SpecialistError
from gateway.wire.embeddings import Wanted, read_otel_env, render_list, render_vector

FLOAT_BYTES = 4
# 64 vectors as JSON take 3 ms, and others are waiting for the event loop.
RENDERED_AT_ONCE = 64
_CLIENTS_OWN = frozenset(
    {"input too long", "input unreadable", "empty input", "input is no text", "unknown field"}
)

Embed = Callable[[Sequence[str]], Awaitable[list[bytes]]]
"""Texts to their float32 vectors, in order. Raises SpecialistError."""


class Encoding(Sources, Protocol):
    """What such answers are made from."""

    @property
    def embed(self) -> Embed:
        """The model host's encoder."""


def is_encoded(state: RequestState) -> bool:
    """Whether the policy has an encoder answer what is asked."""
    plan = state.plan
    return state.request.surface == "embeddings" and plan.embed is not None and not plan.because


async def from_encoder(state: RequestState, sources: Encoding) -> Answer:
    """Return the answer to an embeddings request from the encoder which its plan names.

    Raises RequestError for what the encoder cannot do, now or at all: the teacher's vectors are of another
    space, and would spoil an index without anybody noticing. Raises SpecialistError where the client may
    have the teacher's all the same.
    """
    request, encoder = state.request, state.plan.embed
    assert encoder is not None
    if not request.is_trusted:
        raise SpecialistError("caller not yet accepted by the teacher")
    if request.mode == "shadow":
        raise SpecialistError("shadow asked for")
    if request.unsupported_reason:
        raise _unavailable(SpecialistError(request.unsupported_reason), encoder)
    wanted = read_otel_env(request)
    try:
        vectors = await sources.embed(wanted.texts)
    except SpecialistError as fault:
        raise _unavailable(fault, encoder) from fault
    _check_dimensions(wanted, len(vectors[0]) // FLOAT_BYTES)
    usage = sources.estimate_usage(request, "")
    content = render_list(await _rendered(vectors, wanted), request.model, usage.prompt_tokens)
    served = msgspec.structs.replace(
        state, verdict=Verdict(accepts=True, because="encoder"), reason="encoder"
    )
    return from_content(served, sources, content, encoder)


async def _rendered(vectors: list[bytes], wanted: Wanted) -> list[bytes]:
    items: list[bytes] = []
    for index, vector in enumerate(vectors):
        items.append(render_vector(index, vector, is_base64=wanted.is_base64))
        if len(items) % RENDERED_AT_ONCE == 0:
            await asyncio.sleep(0)
    return items


def _check_dimensions(wanted: Wanted, dimensions: int) -> None:
    if wanted.dimensions not in (None, dimensions):
        raise RequestError(
            f"Invalid 'dimensions': this model's embeddings have {dimensions}, no more and no fewer.",
            param="dimensions",
            code="invalid_value",
        )


def _unavailable(fault: SpecialistError, encoder: str) -> RequestError:
    """Return what the client is told, whom no teacher can help."""
    if fault.reason in _CLIENTS_OWN:
        return RequestError(f"The encoder '{encoder}' cannot take this: {fault}.", param="input")
    return RequestError(
        f"The encoder '{encoder}' does not answer now: {fault.reason}.",
        status=503,
        code="encoder_unavailable",
        kind="server_error",
    )
