"""Beside a late draft the teacher may be called; the first of the two answers, once."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from gateway.cascade.answers import answer_with_teacher
from gateway.cascade.base import RequestState
from gateway.core import Plan
from gateway.errors import SpecialistError, UpstreamError
from gateway.upstream.base import Call, Reply
from tests.cascade.fakes import Flow, ScriptedTeacher
from tests.support.builders import request

HEDGED = Plan(policy="p", may_serve=True, hedge_s=0.0)


class SlowTeacher(ScriptedTeacher):
    """A teacher that answers once `gate` is open."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.was_called = asyncio.Event()
        self.is_cancelled = False

    async def ask(self, call: Call) -> Reply:
        self.was_called.set()
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.is_cancelled = True
            raise
        return await super().ask(call)


class ClosedBody:
    """A body that is never read."""

    is_closed = False

    def __aiter__(self) -> ClosedBody:
        return self

    async def __anext__(self) -> bytes:
        raise NotImplementedError

    async def aclose(self) -> None:
        self.is_closed = True


@pytest.fixture
def flow() -> Flow:
    flow = Flow()
    flow.the_plan = HEDGED
    flow.teacher = SlowTeacher()
    flow.drafter.gate = asyncio.Event()
    return flow


def slow(flow: Flow) -> SlowTeacher:
    assert isinstance(flow.teacher, SlowTeacher)
    return flow.teacher


async def test_a_faster_teacher_answers_and_the_draft_is_cancelled(flow: Flow) -> None:
    slow(flow).gate.set()

    assert b"from the teacher" in await flow.read()
    assert (flow.outcome.decision, flow.outcome.reason) == ("escalated", "teacher was faster")
    assert len(flow.outcomes) == 1


async def test_a_draft_before_the_teacher_is_served_and_the_call_cancelled(flow: Flow) -> None:
    reading = asyncio.create_task(flow.read())
    await slow(flow).was_called.wait()
    assert flow.drafter.gate is not None
    flow.drafter.gate.set()

    assert b"from the specialist" in await reading
    assert (flow.outcome.decision, flow.outcome.is_hedged) == ("local", True)
    assert slow(flow).is_cancelled
    assert len(flow.outcomes) == 1


async def test_a_bug_in_drafting_leaves_no_call_behind(flow: Flow) -> None:
    flow.drafter.error = ValueError("a bug of ours")
    reading = asyncio.create_task(flow.read())
    await slow(flow).was_called.wait()
    assert flow.drafter.gate is not None
    flow.drafter.gate.set()
    while not slow(flow).is_cancelled:
        await asyncio.sleep(0)
    slow(flow).gate.set()

    assert b"from the teacher" in await reading
    assert flow.outcome.reason == "internal fault"


@pytest.mark.parametrize("error", [None, SpecialistError("host down")])
async def test_a_draft_that_is_not_served_costs_no_second_call(
    flow: Flow, error: SpecialistError | None
) -> None:
    flow.drafter.score, flow.drafter.error = 0.1, error
    reading = asyncio.create_task(flow.read())
    await slow(flow).was_called.wait()
    assert flow.drafter.gate is not None
    flow.drafter.gate.set()
    await asyncio.sleep(0)
    slow(flow).gate.set()

    assert b"from the teacher" in await reading
    assert len(slow(flow).calls) == 1
    assert flow.outcome.reason in {"unsure", "host down", "teacher was faster"}


async def test_a_failing_teacher_leaves_the_draft_alone(flow: Flow) -> None:
    teacher = slow(flow)
    teacher.is_down, teacher.error = True, UpstreamError("down")
    reading = asyncio.create_task(flow.read())
    await teacher.was_called.wait()
    teacher.gate.set()
    await asyncio.sleep(0)
    assert flow.drafter.gate is not None
    flow.drafter.gate.set()

    assert b"from the specialist" in await reading


async def test_a_client_that_leaves_stops_both(flow: Flow) -> None:
    reading = asyncio.create_task(flow.read())
    await slow(flow).was_called.wait()

    reading.cancel()

    with pytest.raises(asyncio.CancelledError):
        await reading
    assert slow(flow).is_cancelled


async def test_a_client_that_leaves_has_paid_for_the_call_beside_the_draft(flow: Flow) -> None:
    """The teacher has read the prompt: an Outcome says so."""
    reading = asyncio.create_task(flow.read())
    await slow(flow).was_called.wait()

    reading.cancel()

    with pytest.raises(asyncio.CancelledError):
        await reading
    assert (flow.outcome.decision, flow.outcome.status, flow.outcome.is_complete) == ("escalated", 499, False)


async def test_a_reply_that_comes_as_the_client_leaves_is_closed(flow: Flow) -> None:
    """Else its connection would stay open until the teacher has written all of it."""
    body = ClosedBody()
    reply = Reply(status=200, headers=(), body=body)
    call = asyncio.get_running_loop().create_future()
    state = RequestState(request=request(), plan=HEDGED, teacher_call=call)  # type: ignore[arg-type]
    answering = asyncio.create_task(answer_with_teacher(state, flow.stages()))
    await asyncio.sleep(0)

    call.set_result(reply)
    answering.cancel()

    with pytest.raises(asyncio.CancelledError):
        await answering
    assert body.is_closed


@pytest.mark.parametrize(
    "plan", [Plan(policy="p", may_serve=True), msgspec.structs.replace(HEDGED, may_escalate=False)]
)
async def test_without_permission_no_second_answer_is_paid_for(flow: Flow, plan: Plan) -> None:
    flow.the_plan = plan
    reading = asyncio.create_task(flow.read())
    await asyncio.sleep(0.01)
    assert flow.drafter.gate is not None
    flow.drafter.gate.set()

    assert b"from the specialist" in await reading
    assert not slow(flow).was_called.is_set()
    assert not flow.outcome.is_hedged
