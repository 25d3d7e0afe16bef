from __future__ import annotations

import pytest

from gateway.core import Request, Route
from gateway.errors import SpecialistError
from gateway.routing.router import TaskRouter
from tests.routing.conftest import Ask


class Says:
    """A classifier which always says the same, or fails."""

    def __init__(self, answer: Route | SpecialistError | None) -> None:
        self._answer = answer
        self.asked = 0

    async def classify(self, request: Request) -> Route | None:
        """Return or raise what it was made with."""
        self.asked += 1
        if isinstance(self._answer, SpecialistError):
            raise self._answer
        return self._answer


async def test_the_first_sure_classifier_names_the_task(ask: Ask) -> None:
    later = Says(Route("other"))

    route = await TaskRouter([Says(None), Says(Route("support")), later]).route(ask())

    assert route == Route("support")
    assert later.asked == 0


async def test_what_nobody_recognises_is_a_new_task_of_its_template(ask: Ask) -> None:
    router = TaskRouter([Says(None)])

    first, again, other = [await router.route(ask(template=name * 16)) for name in ("ab", "ab", "cd")]

    assert first == again == Route("task-abababababab", "fingerprint", 1.0)
    assert other.task != first.task


async def test_nobody_is_called_new_because_a_classifier_could_not_look(ask: Ask) -> None:
    with pytest.raises(SpecialistError, match="host down"):
        await TaskRouter([Says(SpecialistError("host down"))]).route(ask())
