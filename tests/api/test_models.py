"""The list of models is the teacher's with ours at its end."""

from __future__ import annotations

import json
from collections.abc import Iterator

import openai
import pytest

from gateway.api.auth import Authenticator
from gateway.errors import UpstreamError
from gateway.upstream.base import Call, Reply
from tests.api.site_server import House, open_house

OWN = "stepdown/support-intents"
THEIRS = {"id": "gpt-4o", "object": "model", "created": 1, "owned_by": "openai", "extra": 1.50}


@pytest.fixture
def owner() -> Iterator[House]:
    with open_house(own_models=lambda: [OWN]) as house:
        yield house


def lists(house: House, content: bytes, status: int = 200) -> None:
    async def reply(_: Call) -> Reply:
        return house.teacher.with_body(content, status=status)

    house.teacher.reply = reply


def test_both_are_listed(owner: House) -> None:
    """The official client sees both, and the teacher's unknown fields survive."""
    lists(owner, json.dumps({"object": "list", "data": [THEIRS], "has_more": False}).encode())

    with openai.OpenAI(base_url=owner.base_url + "/v1", api_key="any", max_retries=0) as client:
        models = client.models.list().data

    assert [(model.id, model.owned_by) for model in models] == [("gpt-4o", "openai"), (OWN, "stepdown")]
    raw = owner.ask("GET", "/v1/models").json
    assert raw["data"][0] == THEIRS
    assert raw["has_more"] is False


def test_the_list_is_asked_for_in_plain(owner: House) -> None:
    """It has to be read to be added to."""
    lists(owner, b'{"data":[]}')

    owner.ask("GET", "/v1/models?x=1", headers={"accept-encoding": "gzip"})

    call = owner.teacher.calls[0]
    assert call.target == b"/v1/models?x=1"
    assert [value for name, value in call.headers if name == b"accept-encoding"] == [b"identity"]


def test_a_failing_teacher_is_reported_as_it_failed(owner: House) -> None:
    lists(owner, b'{"error":"busy"}', status=503)

    got = owner.ask("GET", "/v1/models")

    assert (got.status, got.body) == (503, b'{"error":"busy"}')


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"data":{}}', b"<html>", b"\xff"])
def test_an_unreadable_list_is_the_teachers_failure(owner: House, content: bytes) -> None:
    lists(owner, content)

    assert owner.ask("GET", "/v1/models").status == 502


def test_a_teacher_out_of_reach_is_a_502(owner: House) -> None:
    async def reply(_: Call) -> Reply:
        raise UpstreamError("refused")

    owner.teacher.reply = reply

    assert owner.ask("GET", "/v1/models").error["code"] == "teacher_unreachable"


def test_without_models_of_our_own_the_teachers_bytes_pass(house: House) -> None:
    lists(house, b'{ "data" : [] }')

    assert house.ask("GET", "/v1/models").body == b'{ "data" : [] }'


@pytest.mark.parametrize("path", [f"/v1/models/{OWN}", "/v1/models/stepdown%2Fsupport-intents"])
def test_one_of_ours_is_shown(owner: House, path: str) -> None:
    got = owner.ask("GET", path)

    assert got.json == {"id": OWN, "object": "model", "created": 0, "owned_by": "stepdown"}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/models/gpt-4o"),
        ("GET", "/v1/models/stepdown/unknown"),
        ("DELETE", f"/v1/models/{OWN}"),
        ("POST", "/v1/models"),
    ],
)
def test_whatever_else_is_about_models_is_the_teachers(owner: House, method: str, path: str) -> None:
    assert owner.ask(method, path).body == b"from the teacher"


def test_an_unproven_caller_does_not_see_our_models() -> None:
    with open_house(Authenticator("forward"), own_models=lambda: [OWN]) as house:
        got = house.ask("GET", f"/v1/models/{OWN}", headers={"Authorization": "Bearer sk-any"})

    assert got.body == b"from the teacher"
