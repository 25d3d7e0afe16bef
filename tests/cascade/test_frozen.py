"""A frozen task: the teacher answers, whatever the certificate says and the client asks for."""

from __future__ import annotations

import msgspec
import pytest

from gateway.cascade.base import Stages
from gateway.core import Certification, Mode
from gateway.errors import RequestError
from tests.cascade.fakes import Flow
from tests.support.builders import request


class FrozenFlow(Flow):
    """Every task is frozen; `looked_up` lists the tasks that were asked about."""

    def __init__(self) -> None:
        super().__init__()
        self.looked_up: list[str] = []

    def stages(self) -> Stages:
        def is_frozen(task: str) -> bool:
            self.looked_up.append(task)
            return True

        return msgspec.structs.replace(super().stages(), is_frozen=is_frozen)


@pytest.fixture
def flow() -> FrozenFlow:
    return FrozenFlow()


async def test_the_teacher_answers_and_no_draft_is_made(flow: FrozenFlow) -> None:
    assert b"from the teacher" in await flow.read()

    assert (flow.outcome.decision, flow.outcome.reason) == ("escalated", "frozen")
    assert flow.drafter.drafts == 0


async def test_a_request_for_a_local_answer_is_refused(flow: FrozenFlow) -> None:
    with pytest.raises(RequestError, match="frozen"):
        await flow.serve(request(mode="local"))

    assert flow.drafter.drafts == 0


async def test_audits_go_on_and_are_labeled_as_the_other_requests(flow: FrozenFlow) -> None:
    """The evidence stays fresh for the day of the thaw, and no label tells an audit."""
    flow.is_audit = True

    await flow.read()
    outcome = await flow.wait_for_outcome()

    assert (outcome.decision, outcome.reason) == ("audit", "frozen")
    assert outcome.draft is not None


@pytest.mark.parametrize("mode", ["auto", "shadow", "teacher"])
async def test_a_task_that_serves_nothing_is_not_looked_up(flow: FrozenFlow, mode: Mode) -> None:
    flow.certification = Certification(task="t")

    await flow.read(request(mode=mode))

    assert flow.looked_up == []
