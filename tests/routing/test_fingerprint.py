from __future__ import annotations

from gateway.core import Route
from gateway.routing.base import task_name
from gateway.routing.classifiers.fingerprint import FingerprintClassifier
from tests.routing.conftest import SCOPE, Ask, Known, Tasks


async def test_an_adopted_template_is_its_task_exactly(ask: Ask) -> None:
    name = task_name(ask().template, SCOPE)
    classifier = FingerprintClassifier(Tasks(Known(name, "g", b"")))

    assert await classifier.classify(ask(), SCOPE) == Route(name, "fingerprint", 1.0)


async def test_a_template_that_was_not_adopted_is_not_known(ask: Ask) -> None:
    name = task_name(ask().template, SCOPE)
    classifier = FingerprintClassifier(Tasks(Known(name, "g", b"")))

    assert await classifier.classify(ask(template="f" * 32), SCOPE) is None
