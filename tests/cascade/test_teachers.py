"""Of several teachers the answer says who gave it, and only the policy's first one teaches and judges."""

from __future__ import annotations

import pytest

from gateway.cascade.base import RequestState
from gateway.core import Plan, Reading, Request
from gateway.harvest.gather import row_of
from tests.cascade.fakes import Flow
from tests.support.builders import request


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
        request(decoded=b"{}"),
    ],
    ids=["stored", "an answer before", "a file", "encoded"],
)
async def test_what_a_teacher_keeps_stays_with_it(flow: Flow, bound: Request) -> None:
    await flow.read(bound)

    assert flow.teacher.calls[0].is_bound


async def test_a_fallbacks_answer_is_neither_lesson_nor_evidence(flow: Flow) -> None:
    flow.is_audit = True

    await flow.read()
    outcome = await flow.wait_for_outcome()

    assert (outcome.decision, outcome.is_held_out) == ("escalated", False)
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
