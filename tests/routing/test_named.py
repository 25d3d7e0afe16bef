from __future__ import annotations

import msgspec

from gateway.core import Request, Route
from gateway.routing.classifiers import named
from tests.support.builders import request


class Known:
    def __contains__(self, task: str, /) -> bool:
        return task == "intents"

    def all(self) -> list[object]:
        return []


def asking(model: str) -> Request:
    return msgspec.structs.replace(request(), model=model)


async def test_a_specialist_asked_for_by_name_is_its_task() -> None:
    classifier = named.NamedClassifier(Known())  # type: ignore[arg-type]

    assert await classifier.classify(asking("stepdown/intents")) == Route("intents")


async def test_an_unknown_name_and_a_teachers_model_are_no_task() -> None:
    classifier = named.NamedClassifier(Known())  # type: ignore[arg-type]

    assert await classifier.classify(asking("stepdown/other")) is None
    assert await classifier.classify(asking("intents")) is None
