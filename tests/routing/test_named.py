from __future__ import annotations

import msgspec

from gateway.core import Request, Route
from gateway.routing.classifiers import named
from tests.routing.conftest import SCOPE, Known, Tasks
from tests.support.builders import request

TASKS = Tasks(Known("intents", "g", b""))


def asking(model: str) -> Request:
    return msgspec.structs.replace(request(), model=model)


async def test_a_specialist_asked_for_by_name_is_its_task() -> None:
    classifier = named.NamedClassifier(TASKS)

    assert await classifier.classify(asking("stepdown/intents"), SCOPE) == Route("intents")


async def test_an_unknown_name_and_a_teachers_model_are_no_task() -> None:
    classifier = named.NamedClassifier(TASKS)

    assert await classifier.classify(asking("stepdown/other"), SCOPE) is None
    assert await classifier.classify(asking("intents"), SCOPE) is None


async def test_a_name_of_another_tenants_task_is_unknown() -> None:
    assert await named.NamedClassifier(TASKS).classify(asking("stepdown/intents"), "tenant:other") is None
