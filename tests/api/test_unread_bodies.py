"""Encoded and unreadable bodies: read where possible, judged by who pays, sent as they came."""

from __future__ import annotations

import gzip
import json

import brotli
import pytest

from gateway.api.http.body import BodyLimit, BodyLimits
from tests.api.site_server import CHAT, SiteServer, chat_body, serve_site

PATHS = {CHAT: chat_body(), "/v1/responses": b'{"model":"gpt-4o","input":"hello"}'}
PATHS["/v1/embeddings"] = PATHS["/v1/responses"]
SMALL = BodyLimits(chat=BodyLimit(max_bytes=10_000, total_s=10.0))
ODD = {
    "a fraction": {"max_tokens": 256.5},
    "a number as stop": {"stop": 7},
    "text as number": {"n": "2"},
    "no model": {"model": None},
    "an object as content": {"messages": [{"role": "user", "content": {"text": "hello"}}]},
    "no role": {"messages": [{"content": "hello"}]},
    "no messages": {"messages": []},
    "a prompt instead": {"messages": "hello"},
}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("coding", "encode"), [("gzip", gzip.compress), ("br", brotli.compress)])
def test_an_encoded_body_is_read_and_sent_as_it_came(
    site: SiteServer, path: str, coding: str, encode: object
) -> None:
    assert callable(encode)
    body = encode(PATHS[path])

    got = site.ask("POST", path, body, {"content-encoding": coding})

    assert got.status == 200
    request = site.flow.requests[0]
    assert (request.model, request.messages[0].text) == ("gpt-4o", "hello")
    assert (request.body, request.content) == (body, PATHS[path])
    assert (b"content-encoding", coding.encode()) in request.headers


def test_what_is_too_large_once_decoded_is_refused() -> None:
    with serve_site(limits=SMALL) as site:
        got = site.ask("POST", CHAT, gzip.compress(bytes(20_000)), {"content-encoding": "gzip"})

    assert (got.status, got.error["code"]) == (413, "request_too_large")


def test_damaged_data_is_refused_in_openais_shape(site: SiteServer) -> None:
    got = site.ask("POST", CHAT, b"no gzip", {"content-encoding": "gzip"})

    assert (got.status, got.error["param"]) == (400, "content-encoding")
    assert not site.flow.requests


def test_an_unknown_coding_is_refused_with_those_that_are_known(own_site: SiteServer) -> None:
    got = own_site.ask("POST", CHAT, chat_body(), {"content-encoding": "zpaq"})

    assert (got.status, got.error["code"]) == (415, "unsupported_content_encoding")
    assert got.header("accept-encoding") == "gzip, deflate, br, zstd"
    assert not own_site.flow.requests


def test_whoever_pays_the_teacher_may_send_it_an_unknown_coding(site: SiteServer) -> None:
    got = site.ask("POST", CHAT, b"?", {"content-encoding": "zpaq"})

    assert got.status == 200
    request = site.flow.requests[0]
    assert (request.body, request.unsupported_reason) == (b"?", "content-encoding")


@pytest.mark.parametrize("name", ODD)
def test_a_shape_that_only_the_teacher_may_know_is_its_to_judge_if_the_client_pays(
    own_site: SiteServer, site: SiteServer, name: str
) -> None:
    body = json.dumps(json.loads(chat_body()) | ODD[name]).encode()

    refused, passed = own_site.ask("POST", CHAT, body), site.ask("POST", CHAT, body)

    assert (refused.status, passed.status) == (400, 200)
    request = site.flow.requests[0]
    assert (request.body, request.unsupported_reason) == (body, "unreadable field")


@pytest.mark.parametrize(
    "body",
    [b"", b"[1]", b'{"model":', b'{"model":"\xff"}', chat_body()[:-1] + b',"model":"gpt-5"}'],
    ids=["nothing", "no object", "cut", "no UTF-8", "two models"],
)
def test_what_is_no_json_object_or_says_two_things_is_refused_whoever_pays(
    site: SiteServer, body: bytes
) -> None:
    assert site.ask("POST", CHAT, body).status == 400
    assert not site.flow.requests


def test_two_models_are_refused_beside_a_field_that_we_cannot_read(site: SiteServer) -> None:
    """The teacher could answer for the one while a policy has judged the other."""
    body = chat_body(stop=7)[:-1] + b',"model":"gpt-5"}'

    got = site.ask("POST", CHAT, body)

    assert (got.status, got.error["code"]) == (400, "duplicate_parameter")


@pytest.mark.parametrize("path", PATHS)
def test_a_large_body_of_very_many_levels_is_refused_whoever_pays(
    site: SiteServer, own_site: SiteServer, path: str
) -> None:
    """Whoever pays: it was looked at once more on its way to the teacher, and that failed with a 500."""
    body = PATHS[path][:-1] + b',"x":' + b'{"a":' * 300_000 + b"1" + b"}" * 300_001

    for one in (site, own_site):
        got = one.ask("POST", path, body)

        assert (got.status, got.error["code"]) == (413, "request_too_large")
