from __future__ import annotations

import math
from array import array

import pytest

from gateway.errors import SpecialistError
from gateway.routing.classifiers.embedding import Config, EmbeddingClassifier
from tests.routing.conftest import Ask, Known, Tasks


def at(degrees: float) -> bytes:
    """Return the unit vector in the plane at an angle."""
    angle = math.radians(degrees)
    return array("f", [math.cos(angle), math.sin(angle)]).tobytes()


class Angles:
    """Embeds every text as one angle, or fails; records the texts."""

    def __init__(self, degrees: float = 0.0, error: str = "") -> None:
        self._degrees = degrees
        self._error = error
        self.texts: list[str] = []

    async def embed(self, text: str, budget_s: float) -> bytes:
        """Return the vector, or raise SpecialistError."""
        self.texts.append(text)
        if self._error:
            raise SpecialistError(self._error)
        return at(self._degrees)


def classifier(tasks: Tasks, embedder: Angles, **settings: float) -> EmbeddingClassifier:
    return EmbeddingClassifier(Config(**settings), tasks, embedder)  # type: ignore[arg-type]


async def test_a_template_near_to_one_task_is_that_task(ask: Ask) -> None:
    tasks = Tasks(Known("near", "g", at(10)), Known("far", "g", at(90)))

    route = await classifier(tasks, Angles()).classify(ask())

    assert route is not None
    assert (route.task, route.lane) == ("near", "embedding")
    assert route.similarity == pytest.approx(math.cos(math.radians(10)))


async def test_a_template_far_from_every_task_is_not_known(ask: Ask) -> None:
    assert await classifier(Tasks(Known("far", "g", at(30))), Angles()).classify(ask()) is None


async def test_between_two_near_tasks_it_does_not_guess(ask: Ask) -> None:
    tasks = Tasks(Known("one", "g", at(5)), Known("other", "g", at(-6)))

    assert await classifier(tasks, Angles()).classify(ask()) is None


async def test_another_model_or_response_format_is_another_task_even_with_the_same_words(ask: Ask) -> None:
    tasks = Tasks(Known("same words", "another contract", at(0)))

    assert await classifier(tasks, Angles()).classify(ask()) is None


async def test_without_a_task_to_compare_with_nothing_is_embedded(ask: Ask) -> None:
    embedder = Angles(error="host down")

    assert (
        await classifier(Tasks(Known("other", "another contract", at(0))), embedder).classify(ask()) is None
    )
    assert embedder.texts == []


async def test_the_template_is_compared_or_the_text_where_there_is_none(ask: Ask) -> None:
    embedder = Angles()
    asked = classifier(Tasks(Known("near", "g", at(0))), embedder)

    await asked.classify(ask(template_text="the template", text="the text"))
    await asked.classify(ask(template_text="", text="the text"))

    assert embedder.texts == ["the template", "the text"]


async def test_a_template_is_embedded_once(ask: Ask) -> None:
    embedder = Angles()
    asked = classifier(Tasks(Known("near", "g", at(0))), embedder)

    routes = [await asked.classify(ask(text=text)) for text in ("one", "two", "three")]

    assert len(embedder.texts) == 1
    assert {route.task for route in routes if route} == {"near"}


async def test_the_least_recently_used_embedding_is_dropped_first(ask: Ask) -> None:
    embedder = Angles()
    asked = classifier(Tasks(Known("near", "g", at(0))), embedder, cached=2)

    for template in ("a", "b", "a", "c", "a", "b"):
        await asked.classify(ask(template_text=template))

    assert embedder.texts == ["a", "b", "c", "b"]


@pytest.mark.parametrize("error", ["input too long", "input unreadable", "empty input"])
async def test_a_template_without_a_vector_is_not_known_and_not_asked_for_again(ask: Ask, error: str) -> None:
    embedder = Angles(error=error)
    asked = classifier(Tasks(Known("near", "g", at(0))), embedder)

    assert [await asked.classify(ask()) for _ in range(3)] == [None] * 3
    assert len(embedder.texts) == 1


async def test_a_failing_host_is_an_error_and_is_asked_again_next_time(ask: Ask) -> None:
    embedder = Angles(error="host down")
    asked = classifier(Tasks(Known("near", "g", at(0))), embedder)

    for _ in range(2):
        with pytest.raises(SpecialistError, match="host down"):
            await asked.classify(ask())

    assert len(embedder.texts) == 2


@pytest.mark.parametrize("vector", [b"", at(0) * 2])
async def test_a_task_adopted_under_another_encoder_is_skipped(ask: Ask, vector: bytes) -> None:
    assert await classifier(Tasks(Known("old", "g", vector)), Angles()).classify(ask()) is None
