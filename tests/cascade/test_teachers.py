"""Of several teachers the answer says who gave it, and only the policy's first one teaches and judges."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from gateway.cascade.base import RequestState
from gateway.cascade.passage import pass_through
from gateway.core import Plan, Reading, Request
from gateway.harvest.gather import row_of
from gateway.wire.endpoints import find_resource
from tests.cascade.fakes import Flow
from tests.support.builders import request
from tests.upstream.conftest import read


@pytest.fixture
def flow() -> Flow:
    """A flow whose teachers are "first" and "second", of which "second" answers now."""
    flow = Flow()
    flow.has_teachers = True
    flow.the_plan = Plan(policy="p", may_serve=True, teachers=("first", "second"))
    flow.teacher.served_by, flow.teacher.is_lesson = "second", False
    flow.drafter.score = 0.0
    return flow


async def test_the_answer_says_who_served_it(flow: Flow) -> None:
    answer = await flow.serve()

    assert dict(answer.labels)[b"x-stepdown-served-by"] == b"second"


async def test_the_policys_teachers_are_asked(flow: Flow) -> None:
    await flow.read()

    assert (flow.teacher.calls[0].teachers, flow.teacher.calls[0].is_bound) == (("first", "second"), False)


@pytest.mark.parametrize(
    "bound",
    [
        request(is_stored=True),
        request(body=b'{"previous_response_id": "resp_1"}'),
        request(body=b'{"messages": [{"content": [{"file": {"file_id": "file-1"}}]}]}'),
        request(body=b'{"input": [{"type": "reasoning", "encrypted_content": "gAAA"}], "store": false}'),
        request(decoded=b"{}"),
    ],
    ids=["stored", "an answer before", "a file", "reasoning", "encoded"],
)
async def test_what_a_teacher_keeps_stays_with_it(flow: Flow, bound: Request) -> None:
    await flow.read(bound)

    assert flow.teacher.calls[0].is_bound


async def test_vectors_are_asked_of_the_same_model_alone(flow: Flow) -> None:
    await flow.read(request(surface="embeddings"))

    assert flow.teacher.calls[0].needs_same_model


@pytest.mark.parametrize(
    ("method", "path", "body", "is_bound"),
    [
        ("GET", "/v1/models", b"", False),
        ("GET", "/v1/models/gpt-4o", b"", False),
        ("POST", "/v1/completions", b"{}", False),
        ("POST", "/v1/images/generations", b"{}", False),
        ("POST", "/v1/audio/transcriptions", b"form", True),
        ("GET", "/v1/files", b"", True),
        ("POST", "/v1/batches", b"{}", True),
        ("POST", "/v1/unknown", b"{}", True),
    ],
)
async def test_what_keeps_nothing_may_go_to_another_teacher(
    flow: Flow, method: str, path: str, body: bytes, is_bound: bool
) -> None:
    plain = request(surface="other", resource=find_resource(method, path), body=body)

    await read((await pass_through(plain, body, flow.stages())).body)

    assert flow.teacher.calls[0].is_bound is is_bound


async def test_an_upload_in_pieces_stays_with_the_first_teacher(flow: Flow) -> None:
    """Each teacher's own name of the model could not be written into it."""

    async def pieces() -> AsyncIterator[bytes]:
        yield b"{}"

    plain = request(surface="other", resource=find_resource("POST", "/v1/completions"))

    await read((await pass_through(plain, pieces(), flow.stages())).body)

    assert flow.teacher.calls[0].is_bound


async def test_a_fallbacks_answer_is_neither_lesson_nor_evidence(flow: Flow) -> None:
    flow.is_audit = True

    await flow.read()
    outcome = await flow.wait_for_outcome()

    assert (outcome.decision, outcome.is_held_out, outcome.served_by) == ("escalated", False, "second")
    assert row_of(outcome, Reading(text="x", finish_reason="stop", is_complete=True)) is None


async def test_the_first_teachers_answer_is_both(flow: Flow) -> None:
    flow.is_audit = True
    flow.teacher.is_lesson = True

    await flow.read()
    outcome = await flow.wait_for_outcome()

    assert (outcome.decision, outcome.is_held_out) == ("audit", True)
    assert row_of(outcome, Reading(text="x", finish_reason="stop", is_complete=True)) is not None


def test_without_lesson_keeps_everything_else() -> None:
    state = RequestState(request=request(), plan=Plan(policy="p", may_serve=True), reason="unsure")

    assert state.without_lesson().reason == "unsure"
    assert not state.without_lesson().plan.may_harvest
