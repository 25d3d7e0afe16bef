from __future__ import annotations

import pytest

from gateway.core import Request, Route
from gateway.errors import SpecialistError
from gateway.routing.router import TaskRouter
from tests.routing.conftest import SCOPE, Ask


class ScriptedClassifier:
    """A classifier that always gives the same answer, or fails."""

    def __init__(self, answer: Route | SpecialistError | None) -> None:
        self._answer = answer
        self.asked = 0

    async def classify(self, request: Request, scope: str) -> Route | None:
        """Return or raise the answer that it was created with."""
        self.asked += 1
        if isinstance(self._answer, SpecialistError):
            raise self._answer
        return self._answer


async def test_the_first_sure_classifier_names_the_task(ask: Ask) -> None:
    later = ScriptedClassifier(Route("other"))
    router = TaskRouter([ScriptedClassifier(None), ScriptedClassifier(Route("support")), later])

    route = await router.route(ask(), SCOPE)

    assert route == Route("support")
    assert later.asked == 0


async def test_an_unrecognized_request_is_a_new_task_of_its_template(ask: Ask) -> None:
    router = TaskRouter([ScriptedClassifier(None)])

    first, again, other = [await router.route(ask(template=name * 16), SCOPE) for name in ("ab", "ab", "cd")]

    assert first == again == Route(first.task, "fingerprint", 1.0)
    assert len({first.task, other.task}) == 2


async def test_the_same_template_of_two_tenants_is_two_tasks(ask: Ask) -> None:
    """What one tenant's answers taught must not reach another."""
    router = TaskRouter([ScriptedClassifier(None)])

    ours, theirs = [await router.route(ask(), f"tenant:{name}") for name in ("us", "them")]

    assert ours.task != theirs.task


async def test_a_failing_classifier_does_not_make_a_request_new(ask: Ask) -> None:
    with pytest.raises(SpecialistError, match="host down"):
        await TaskRouter([ScriptedClassifier(SpecialistError("host down"))]).route(ask(), SCOPE)
