from __future__ import annotations

import math
from array import array

import pytest

from gateway.core import CopyStatus, copy_keys
from gateway.errors import SpecialistError
from gateway.routing.classifiers.embedding import Config, EmbeddingClassifier
from tests.routing.conftest import SCOPE, Ask, Copies, Known, Tasks


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


def classifier(
    tasks: Tasks, embedder: Angles, copies: Copies | None = None, **settings: float
) -> EmbeddingClassifier:
    return EmbeddingClassifier(Config(**settings), tasks, copies or Copies(), embedder)  # type: ignore[arg-type]


async def test_a_template_near_to_one_task_is_that_task(ask: Ask) -> None:
    tasks = Tasks(Known("near", "g", at(10)), Known("far", "g", at(90)))

    route = await classifier(tasks, Angles()).classify(ask(), SCOPE)

    assert route is not None
    assert (route.task, route.match) == ("near", "embedding")
    assert route.similarity == pytest.approx(math.cos(math.radians(10)))


async def test_a_template_far_from_every_task_is_not_known(ask: Ask) -> None:
    assert await classifier(Tasks(Known("far", "g", at(30))), Angles()).classify(ask(), SCOPE) is None


async def test_between_two_near_tasks_it_does_not_guess(ask: Ask) -> None:
    tasks = Tasks(Known("one", "g", at(5)), Known("other", "g", at(-6)))

    assert await classifier(tasks, Angles()).classify(ask(), SCOPE) is None


async def test_another_model_or_response_format_is_another_task_even_with_the_same_words(ask: Ask) -> None:
    tasks = Tasks(Known("same words", "another contract", at(0)))

    assert await classifier(tasks, Angles()).classify(ask(), SCOPE) is None


async def test_without_a_task_to_compare_with_nothing_is_embedded(ask: Ask) -> None:
    embedder = Angles(error="host down")

    assert (
        await classifier(Tasks(Known("other", "another contract", at(0))), embedder).classify(ask(), SCOPE)
        is None
    )
    assert embedder.texts == []


async def test_the_template_is_compared_or_the_text_where_there_is_none(ask: Ask) -> None:
    embedder = Angles()
    asked = classifier(Tasks(Known("near", "g", at(0))), embedder)

    await asked.classify(ask(template_text="the template", text="the text"), SCOPE)
    await asked.classify(ask(template_text="", text="the text"), SCOPE)

    assert embedder.texts == ["the template", "the text"]


async def test_a_template_is_embedded_once(ask: Ask) -> None:
    embedder = Angles()
    asked = classifier(Tasks(Known("near", "g", at(0))), embedder)

    routes = [await asked.classify(ask(text=text), SCOPE) for text in ("one", "two", "three")]

    assert len(embedder.texts) == 1
    assert {route.task for route in routes if route} == {"near"}


async def test_the_least_recently_used_embedding_is_dropped_first(ask: Ask) -> None:
    embedder = Angles()
    asked = classifier(Tasks(Known("near", "g", at(0))), embedder, cached=2)

    for template in ("a", "b", "a", "c", "a", "b"):
        await asked.classify(ask(template_text=template), SCOPE)

    assert embedder.texts == ["a", "b", "c", "b"]


@pytest.mark.parametrize("error", ["input too long", "input unreadable", "empty input"])
async def test_a_template_without_a_vector_is_not_known_and_not_asked_for_again(ask: Ask, error: str) -> None:
    embedder = Angles(error=error)
    asked = classifier(Tasks(Known("near", "g", at(0))), embedder)

    assert [await asked.classify(ask(), SCOPE) for _ in range(3)] == [None] * 3
    assert len(embedder.texts) == 1


async def test_a_failing_host_is_an_error_and_is_asked_again_next_time(ask: Ask) -> None:
    embedder = Angles(error="host down")
    asked = classifier(Tasks(Known("near", "g", at(0))), embedder)

    for _ in range(2):
        with pytest.raises(SpecialistError, match="host down"):
            await asked.classify(ask(), SCOPE)

    assert len(embedder.texts) == 2


@pytest.mark.parametrize("vector", [b"", at(0) * 2])
async def test_a_task_adopted_under_another_encoder_is_skipped(ask: Ask, vector: bytes) -> None:
    assert await classifier(Tasks(Known("old", "g", vector)), Angles()).classify(ask(), SCOPE) is None


OWN = "You label support tickets. Answer with a label that fits."
OPPOSITE = "You label support tickets. Answer with a label that does NOT fit."


def task_with(template_text: str) -> Tasks:
    return Tasks(Known("support", "g", at(0), template_text))


async def test_a_copy_with_another_date_is_the_same_task_at_once(ask: Ask) -> None:
    tasks = task_with("Today is 2026-11-27. You label tickets.")
    asked = ask(template_text="Today is 2026-11-28. You label tickets.")

    route = await classifier(tasks, Angles()).classify(asked, SCOPE)

    assert route is not None
    assert (route.is_variant, route.is_on_probation, route.place) == (True, False, "")


async def test_a_copy_that_differs_in_words_is_on_probation(ask: Ask) -> None:
    """It may want the opposite."""
    route = await classifier(task_with(OWN), Angles()).classify(ask(template_text=OPPOSITE), SCOPE)

    assert route is not None
    assert (route.task, route.is_on_probation) == ("support", True)
    assert route.place


@pytest.mark.parametrize("by", ["template", "place"])
@pytest.mark.parametrize("status", ["known", "separate"])
async def test_what_a_copy_or_its_place_has_proved_decides(ask: Ask, by: str, status: CopyStatus) -> None:
    asked = ask(template_text=OPPOSITE)
    first = await classifier(task_with(OWN), Angles()).classify(asked, SCOPE)
    assert first is not None
    own, place = copy_keys(asked.template, first.place)
    copy = own if by == "template" else place

    route = await classifier(task_with(OWN), Angles(), Copies(**{copy: status})).classify(asked, SCOPE)

    if status == "separate":
        assert route is None
    else:
        assert route is not None
        assert not route.is_on_probation


async def test_another_tenants_task_is_never_near(ask: Ask) -> None:
    assert await classifier(task_with(OWN), Angles()).classify(ask(), "tenant:other") is None
