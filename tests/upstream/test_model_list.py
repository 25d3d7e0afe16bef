"""The list of models, and the days on which they retire, in the words of each provider."""

from __future__ import annotations

from datetime import date

import pytest

from gateway.processes.teacher_check import select_retirements
from gateway.upstream.base import Transport
from gateway.upstream.model_list import fetch_models
from gateway.upstream.providers import gemini, openai
from tests.upstream.conftest import RawTeacher
from tests.upstream.providers.imitation import Imitation, answer

DAY = date(2026, 12, 11)


@pytest.mark.parametrize(
    "said",
    [
        {"shutdown_date": "2026-12-11"},
        {"expiration_date": "2026-12-11T00:00:00Z"},
        {"deprecation": {"fine_tune": 1, "inference": 1_796_947_200}},
        {"shutdown_date": "soon", "expiration_date": "2026-12-11"},
    ],
)
async def test_a_retirement_is_read_in_any_of_its_words(
    raw: RawTeacher, client: Transport, said: dict[str, object]
) -> None:
    raw.script = [answer(200, {"data": [{"id": "old", **said}, {"id": "new", "shutdown_date": None}]})]

    listed = await fetch_models(Imitation(openai, raw, client).teacher())

    assert listed.models == {"old": DAY, "new": None}


@pytest.mark.parametrize("day", [5, "never", "", [], {"inference": "x"}, {"inference": 10**20}])
async def test_a_day_that_cannot_be_read_is_none(raw: RawTeacher, client: Transport, day: object) -> None:
    raw.script = [answer(200, {"data": [{"id": "a", "shutdown_date": day, "deprecation": day}]})]

    assert (await fetch_models(Imitation(openai, raw, client).teacher())).models == {"a": None}


@pytest.mark.parametrize("body", [b"", b"[]", b'{"models":[]}', b"<html>"])
async def test_what_is_no_list_has_no_models(raw: RawTeacher, client: Transport, body: bytes) -> None:
    raw.script = [answer(200, body)]

    assert (await fetch_models(Imitation(openai, raw, client).teacher())).models is None


async def test_models_have_the_names_by_which_they_are_asked_for(raw: RawTeacher, client: Transport) -> None:
    raw.script = [answer(200, {"data": [{"id": "models/gemini-3-pro"}]})]

    assert (await fetch_models(Imitation(gemini, raw, client).teacher())).models == {"gemini-3-pro": None}


def test_retirements_of_named_models_are_told_however_far_they_are() -> None:
    models = {"a": date(2028, 1, 1), "b": date(2026, 12, 1), "c": None}

    assert list(select_retirements(models, {"a", "c"}, date(2026, 11, 1))) == ["a"]
    assert list(select_retirements(models, set(), date(2026, 11, 1))) == ["b"]
