"""Embeddings from our own encoder, for the models that a policy assigns to it."""

from __future__ import annotations

import asyncio

import msgspec

from gateway.cascade.answers import answer_with_content
from gateway.cascade.base import RequestState, Stages
from gateway.core import Answer, Verdict
from gateway.errors import RequestError, SpecialistError
from gateway.wire.embeddings import EncoderRequest, read_encoder_request, render_list, render_vector

FLOAT_BYTES = 4
# 64 vectors as JSON take 3 ms, and others are waiting for the event loop.
RENDERED_AT_ONCE = 64
_CLIENT_ERRORS = frozenset(
    {"input too long", "input unreadable", "empty input", "input is no text", "unknown field"}
    | {"unreadable field", "content-encoding"}
)


def is_for_encoder(state: RequestState) -> bool:
    """Whether the policy has our encoder answer this request."""
    plan = state.plan
    return state.request.surface == "embeddings" and plan.embed is not None and not plan.because


async def answer_with_encoder(state: RequestState, stages: Stages) -> Answer:
    """Return the answer to an embeddings request from the encoder that its plan names.

    Raises RequestError for anything the encoder cannot do, now or ever: the teacher's vectors belong
    to another space and would silently spoil an index. Raises SpecialistError where the teacher may
    answer all the same.
    """
    request, encoder = state.request, state.plan.embed
    assert encoder is not None
    if not request.is_trusted:
        raise SpecialistError("caller not yet accepted by the teacher")
    if request.mode == "shadow":
        raise SpecialistError("shadow asked for")
    if request.unsupported_reason:
        raise _to_request_error(SpecialistError(request.unsupported_reason), encoder)
    wanted = read_encoder_request(request)
    try:
        vectors = await stages.embed(wanted.texts)
    except SpecialistError as exc:
        raise _to_request_error(exc, encoder) from exc
    _check_dimensions(wanted, len(vectors[0]) // FLOAT_BYTES)
    usage = stages.estimate_usage(request, "")
    content = render_list(await _render_vectors(vectors, wanted), request.model, usage.prompt_tokens)
    accepted = msgspec.structs.replace(
        state, verdict=Verdict(accepts=True, because="encoder"), reason="encoder"
    )
    return answer_with_content(accepted, stages, content, encoder)


async def _render_vectors(vectors: list[bytes], wanted: EncoderRequest) -> list[bytes]:
    items: list[bytes] = []
    for index, vector in enumerate(vectors):
        items.append(render_vector(index, vector, is_base64=wanted.is_base64))
        if len(items) % RENDERED_AT_ONCE == 0:
            await asyncio.sleep(0)
    return items


def _check_dimensions(wanted: EncoderRequest, dimensions: int) -> None:
    if wanted.dimensions not in (None, dimensions):
        raise RequestError(
            f"Invalid 'dimensions': this model's embeddings have {dimensions}, no more and no fewer.",
            param="dimensions",
            code="invalid_value",
        )


def _to_request_error(exc: SpecialistError, encoder: str) -> RequestError:
    """Return `exc` as the client's error: the teacher may not answer instead."""
    if exc.reason in _CLIENT_ERRORS:
        return RequestError(f"The encoder '{encoder}' cannot take this: {exc}.", param="input")
    return RequestError(
        f"The encoder '{encoder}' does not answer now: {exc.reason}.",
        status=503,
        code="encoder_unavailable",
        kind="server_error",
    )
