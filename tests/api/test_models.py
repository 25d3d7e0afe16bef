"""The list of models is the teacher's with ours at its end."""

from __future__ import annotations

import json
from collections.abc import Iterator

import openai
import pytest

from gateway.api.auth import Authenticator
from gateway.errors import UpstreamError
from gateway.upstream.base import Call, Reply
from tests.api.site_server import SiteServer, serve_site

OWN = "stepdown/support-intents"
THEIRS = {"id": "gpt-4o", "object": "model", "created": 1, "owned_by": "openai", "extra": 1.50}


@pytest.fixture
def site_with_model() -> Iterator[SiteServer]:
    with serve_site(own_models=lambda _: [OWN]) as site:
        yield site


def reply_with(site: SiteServer, content: bytes, status: int = 200) -> None:
    async def reply(_: Call) -> Reply:
        return site.teacher.with_body(content, status=status)

    site.teacher.reply = reply


def test_models_of_both_are_listed(site_with_model: SiteServer) -> None:
    """The official client sees both, and the teacher's unknown fields survive."""
    reply_with(site_with_model, json.dumps({"object": "list", "data": [THEIRS], "has_more": False}).encode())

    with openai.OpenAI(base_url=site_with_model.base_url + "/v1", api_key="any", max_retries=0) as client:
        models = client.models.list().data

    assert [(model.id, model.owned_by) for model in models] == [("gpt-4o", "openai"), (OWN, "stepdown")]
    raw = site_with_model.ask("GET", "/v1/models").json
    assert raw["data"][0] == THEIRS
    assert raw["has_more"] is False


def test_the_list_is_asked_for_in_plain(site_with_model: SiteServer) -> None:
    """We must read it to append to it."""
    reply_with(site_with_model, b'{"data":[]}')

    site_with_model.ask("GET", "/v1/models?x=1", headers={"accept-encoding": "gzip"})

    call = site_with_model.teacher.calls[0]
    assert call.target == b"/v1/models?x=1"
    assert [value for name, value in call.headers if name == b"accept-encoding"] == [b"identity"]


def test_a_failing_teacher_is_reported_as_it_failed(site_with_model: SiteServer) -> None:
    reply_with(site_with_model, b'{"error":"busy"}', status=503)

    response = site_with_model.ask("GET", "/v1/models")

    assert (response.status, response.body) == (503, b'{"error":"busy"}')


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"data":{}}', b"<html>", b"\xff"])
def test_an_unreadable_list_is_the_teachers_failure(site_with_model: SiteServer, content: bytes) -> None:
    reply_with(site_with_model, content)

    assert site_with_model.ask("GET", "/v1/models").status == 502


def test_a_teacher_out_of_reach_is_a_502(site_with_model: SiteServer) -> None:
    async def reply(_: Call) -> Reply:
        raise UpstreamError("refused")

    site_with_model.teacher.reply = reply

    assert site_with_model.ask("GET", "/v1/models").error["code"] == "teacher_unreachable"


def test_without_models_of_our_own_the_teachers_bytes_pass(site: SiteServer) -> None:
    reply_with(site, b'{ "data" : [] }')

    assert site.ask("GET", "/v1/models").body == b'{ "data" : [] }'


@pytest.mark.parametrize("path", [f"/v1/models/{OWN}", "/v1/models/stepdown%2Fsupport-intents"])
def test_one_of_ours_is_shown(site_with_model: SiteServer, path: str) -> None:
    response = site_with_model.ask("GET", path)

    assert response.json == {"id": OWN, "object": "model", "created": 0, "owned_by": "stepdown"}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/models/gpt-4o"),
        ("GET", "/v1/models/stepdown/unknown"),
        ("DELETE", f"/v1/models/{OWN}"),
        ("POST", "/v1/models"),
    ],
)
def test_every_other_request_about_models_is_the_teachers(
    site_with_model: SiteServer, method: str, path: str
) -> None:
    assert site_with_model.ask(method, path).body == b"from the teacher"


def test_an_unproven_caller_does_not_see_our_models() -> None:
    with serve_site(Authenticator("forward"), own_models=lambda _: [OWN]) as site:
        response = site.ask("GET", f"/v1/models/{OWN}", headers={"Authorization": "Bearer sk-any"})

    assert response.body == b"from the teacher"
