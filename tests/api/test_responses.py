"""POST /v1/responses over a real socket; every other path below it is the teacher's."""

from __future__ import annotations

import json

import pytest

from tests.api.site_server import SiteServer

RESPONSES = "/v1/responses"


def test_the_flow_gets_the_clients_own_bytes(site: SiteServer) -> None:
    body = b' {"input":"h\xc3\xa9llo" , "model":"gpt-4o","unknown":1.50}'

    response = site.ask("POST", RESPONSES + "?a=%2F&b", body, {"X-App": "one"})

    request = site.flow.requests[0]
    assert (request.body, request.target) == (body, b"/v1/responses?a=%2F&b")
    assert (b"x-app", b"one") in request.headers
    assert (request.surface, request.text) == ("responses", "héllo")
    assert response.header("x-stepdown-request-id") == request.id


def test_a_malformed_body_is_refused_with_openais_error_object(own_site: SiteServer) -> None:
    response = own_site.ask("POST", RESPONSES, b'{"model":"m","input":7}')

    assert response.status == 400
    assert (response.error["param"], response.error["type"]) == ("input", "invalid_request_error")
    assert own_site.flow.requests == []
    assert own_site.teacher.calls == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/responses/resp_1?include[]=a"),
        ("GET", "/v1/responses/resp_1/input_items?after=b"),
        ("DELETE", "/v1/responses/resp_1"),
        ("POST", "/v1/responses/resp_1/cancel"),
        ("POST", "/v1/responses/compact"),
        ("POST", "/v1/responses/input_tokens"),
        ("GET", "/v1/responses"),
        ("POST", "/v1/completions"),
    ],
)
def test_everything_else_passes_through(site: SiteServer, method: str, path: str) -> None:
    body = b'{"model": "gpt-4o", "input": "hello" }' if method == "POST" else None

    response = site.ask(method, path, body)

    assert response.body == b"from the teacher"
    assert site.teacher.calls[0].target == path.encode()
    assert site.teacher.bodies == [body or b""]
    assert site.flow.requests == []


def test_reasons_of_the_input_reach_the_flow(site: SiteServer) -> None:
    body = json.dumps({"model": "gpt-4o", "input": "hello", "previous_response_id": "resp_1"}).encode()

    site.ask("POST", RESPONSES, body)

    assert site.flow.requests[0].unsupported_reason == "previous_response_id"
