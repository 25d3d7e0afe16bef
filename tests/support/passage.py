"""The teacher's half of the flow, for tests of the application that need no specialist."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from gateway.cascade.passage import open_tunnel, pass_through
from gateway.core import Outcome
from gateway.policy.ownership import ObjectOwnership, OwnerStore
from gateway.policy.planner import PolicyPlanner
from gateway.policy.schema import Policy
from gateway.upstream.base import Teacher
from tests.cascade.fakes import Flow

EVERYTHING = (Policy(name="all"),)


def passage_to(
    teacher: Teacher,
    policies: Sequence[Policy] = EVERYTHING,
    outcomes: list[Outcome] | None = None,
    *,
    has_own_key: bool = False,
    owners: OwnerStore | None = None,
) -> dict[str, Any]:
    """Return the dependencies of the application that lead to `teacher` under `policies`."""
    flow = Flow()
    flow.outcomes = [] if outcomes is None else outcomes
    flow.teacher = teacher  # type: ignore[assignment]
    flow.plan = PolicyPlanner(policies, lambda _: 0.0, has_own_key=has_own_key).plan  # type: ignore[method-assign]
    stages = flow.stages()
    if owners:
        stages = msgspec.structs.replace(stages, ownership=ObjectOwnership(owners))
    return {
        "pass_through": lambda request, body: pass_through(request, body, stages),
        "open_tunnel": lambda request: open_tunnel(request, stages),
        "has_own_key": has_own_key,
    }
