"""What a policy lets a specialist take: a version that takes more is not asked, and time is limited."""

from __future__ import annotations

import time

import msgspec
import pytest

from gateway.core import Constraints, Footprint, Plan
from gateway.errors import RequestError
from tests.cascade.fakes import LIVE, Flow
from tests.support.builders import request

SLOW = Footprint(p50_ms=40.0, p99_ms=80.0, cpu_ms=40.0, load_ms=5.0, memory_mb=300.0)


@pytest.fixture
def flow() -> Flow:
    flow = Flow()
    flow.certification = msgspec.structs.replace(LIVE, footprint=SLOW)
    return flow


def allow(flow: Flow, **constraints: float) -> None:
    flow.the_plan = Plan(policy="p", may_serve=True, constraints=Constraints(**constraints))


@pytest.mark.parametrize(
    ("constraints", "reason"),
    [({"max_latency_ms": 50}, "specialist too slow"), ({"max_memory_mb": 200}, "specialist too large")],
)
async def test_a_version_that_takes_more_is_not_asked(
    flow: Flow, constraints: dict[str, float], reason: str
) -> None:
    allow(flow, **constraints)

    assert b"from the teacher" in await flow.read()
    assert (flow.outcome.decision, flow.outcome.reason, flow.drafter.drafts) == ("escalated", reason, 0)


async def test_a_version_that_takes_less_answers(flow: Flow) -> None:
    allow(flow, max_latency_ms=100, max_memory_mb=400)
    assert b"from the specialist" in await flow.read()


async def test_what_was_never_measured_keeps_no_constraint(flow: Flow) -> None:
    flow.certification = LIVE
    allow(flow, max_latency_ms=100)

    await flow.read()
    assert flow.outcome.reason == "specialist not measured"


async def test_the_time_for_a_draft_ends_from_the_arrival_on(flow: Flow) -> None:
    allow(flow, max_latency_ms=100)
    await flow.serve(request(received_at=time.monotonic() - 0.06))
    await flow.serve(request(received_at=time.monotonic() - 60.0))

    in_time, too_late = flow.drafter.budgets_s
    assert 0.0 < in_time <= 0.04
    assert too_late == 0.0


async def test_a_caller_that_may_force_a_local_answer_gets_one(flow: Flow) -> None:
    allow(flow, max_latency_ms=50)
    await flow.serve(request(mode="local", may_force_local=True))
    assert flow.drafter.budgets_s == [1.0]

    with pytest.raises(RequestError, match="specialist too slow"):
        await flow.serve(request(mode="local", may_force_local=False))
