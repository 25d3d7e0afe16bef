"""Embeddings come from the encoder that a policy names, else from the teacher, and are counted once."""

from __future__ import annotations

import json
from array import array
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from gateway.core import Plan, Request
from gateway.errors import RequestError, SpecialistError
from gateway.wire.embeddings import read_embeddings
from tests.cascade.fakes import Flow
from tests.support.builders import incoming

ENCODED = Plan(policy="p", may_serve=True, embed="minilm")


class EncoderFlow(Flow):
    """A flow with an encoder that measures texts, or fails."""

    def __init__(self) -> None:
        super().__init__()
        self.the_plan = ENCODED
        self.encoder_error: Exception | None = None

    async def embed(self, texts: Sequence[str]) -> list[bytes]:
        if self.encoder_error:
            raise self.encoder_error
        return [array("f", [len(text), 0.5]).tobytes() for text in texts]


@pytest.fixture
def flow() -> EncoderFlow:
    return EncoderFlow()


def request(is_trusted: bool = True, mode: bytes = b"auto", **fields: Any) -> Request:
    body = json.dumps({"model": "text-embedding-3-small", "input": ["a", "bcd"], **fields}).encode()
    headers = ((b"x-stepdown-mode", mode),)
    return read_embeddings(
        incoming(body=body, headers=headers, target=b"/v1/embeddings", is_trusted=is_trusted)
    )


async def test_the_encoder_of_the_policy_answers_in_order(flow: EncoderFlow) -> None:
    answer = await flow.serve(request())
    received = json.loads(b"".join([piece async for piece in answer.body]))

    assert [item["embedding"] for item in received["data"]] == [[1.0, 0.5], [3.0, 0.5]]
    assert received["usage"] == {"prompt_tokens": 10, "total_tokens": 10}
    assert dict(answer.labels)[b"x-stepdown-served-by"] == b"minilm"
    assert flow.teacher.calls == []
    assert (flow.outcome.decision, flow.outcome.reason, flow.outcome.route) == ("local", "encoder", None)


@pytest.mark.parametrize(
    ("plan", "fields", "reason"),
    [
        (Plan(policy="p", may_serve=True), {}, "no encoder"),
        (msgspec.structs.replace(ENCODED, may_serve=False, because="policy says teacher"), {}, "policy says"),
    ],
)
async def test_without_an_encoder_for_it_the_teacher_answers(
    flow: EncoderFlow, plan: Plan, fields: dict[str, Any], reason: str
) -> None:
    flow.the_plan = plan
    embedding_request = request(**fields)

    body = await flow.read(embedding_request)

    assert body == b"".join(flow.teacher.pieces)
    assert flow.teacher.calls[0].body == embedding_request.body
    assert flow.outcome.decision == "bypass"
    assert reason in flow.outcome.reason


@pytest.mark.parametrize(
    ("embedding_request", "reason"),
    [
        (request(is_trusted=False), "caller not yet accepted by the teacher"),
        (request(mode=b"shadow"), "shadow asked for"),
    ],
)
async def test_a_caller_that_may_not_be_served_locally_gets_the_teachers_answer(
    flow: EncoderFlow, embedding_request: Request, reason: str
) -> None:
    await flow.read(embedding_request)

    assert (flow.outcome.decision, flow.outcome.reason) == ("escalated", reason)


@pytest.mark.parametrize("model", ["stepdown/minilm", "text-embedding-3-small"])
@pytest.mark.parametrize(
    ("reason", "status"),
    [("host down", 503), ("late", 503), ("overloaded", 503), ("input too long", 400), ("empty input", 400)],
)
async def test_the_teachers_vectors_never_replace_the_encoders(
    flow: EncoderFlow, model: str, reason: str, status: int
) -> None:
    """They belong to another space: an index of both would be spoiled silently."""
    flow.encoder_error = SpecialistError(reason)

    with pytest.raises(RequestError) as refused:
        await flow.serve(request(model=model))

    assert refused.value.status == status
    assert flow.teacher.calls == []


async def test_tokens_are_refused_where_an_encoder_answers(flow: EncoderFlow) -> None:
    with pytest.raises(RequestError, match="input is no text") as refused:
        await flow.serve(request(input=[[1, 2]]))

    assert (refused.value.status, flow.teacher.calls) == (400, [])


async def test_our_own_model_that_no_policy_names_is_not_found(flow: EncoderFlow) -> None:
    flow.the_plan = Plan(policy="p", may_serve=True)

    with pytest.raises(RequestError) as refused:
        await flow.serve(request(model="stepdown/minilm"))

    assert (refused.value.status, refused.value.code) == (404, "model_not_found")


@pytest.mark.parametrize(
    ("fields", "param"),
    [({"dimensions": 3}, "dimensions"), ({"input": ""}, "input"), ({"input": []}, "input")],
)
async def test_a_field_that_the_encoder_cannot_honor_is_refused_by_name(
    flow: EncoderFlow, fields: dict[str, Any], param: str
) -> None:
    with pytest.raises(RequestError) as refused:
        await flow.serve(request(**fields))

    assert (refused.value.status, refused.value.param) == (400, param)
    assert flow.teacher.calls == []


async def test_the_encoders_own_dimensions_may_be_asked_for(flow: EncoderFlow) -> None:
    answer = await flow.serve(request(dimensions=2))

    assert answer.status == 200
    await answer.body.aclose()


async def test_without_a_budget_only_the_encoder_answers(flow: EncoderFlow) -> None:
    flow.the_plan = msgspec.structs.replace(ENCODED, may_escalate=False)
    assert (await flow.serve(request())).status == 200

    with pytest.raises(RequestError, match="budget"):
        await flow.serve(request(mode=b"shadow"))
