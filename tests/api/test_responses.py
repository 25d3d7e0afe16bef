"""POST /v1/responses over a real socket; all else below it is the teacher's."""

from __future__ import annotations

import json

import pytest

from tests.api.site_server import House

RESPONSES = "/v1/responses"


def test_the_flow_gets_the_clients_own_bytes(house: House) -> None:
    body = b' {"input":"h\xc3\xa9llo" , "model":"gpt-4o","unknown":1.50}'

    got = house.ask("POST", RESPONSES + "?a=%2F&b", body, {"X-App": "one"})

    request = house.flow.requests[0]
    assert (request.body, request.target) == (body, b"/v1/responses?a=%2F&b")
    assert (b"x-app", b"one") in request.headers
    assert (request.surface, request.text) == ("responses", "héllo")
    assert got.header("x-stepdown-request-id") == request.id


def test_what_is_malformed_is_refused_in_openais_envelope(house: House) -> None:
    got = house.ask("POST", RESPONSES, b'{"model":"m","input":7}')

    assert got.status == 400
    assert (got.error["param"], got.error["type"]) == ("input", "invalid_request_error")
    assert house.flow.requests == []
    assert house.teacher.calls == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/responses/resp_1?include[]=a"),
        ("GET", "/v1/responses/resp_1/input_items?after=b"),
        ("DELETE", "/v1/responses/resp_1"),
        ("POST", "/v1/responses/resp_1/cancel"),
        ("POST", "/v1/responses/compact"),
        ("POST", "/v1/responses/input_tokens"),
        ("POST", "/v1/responses/"),
        ("GET", "/v1/responses"),
        ("POST", "/v1/completions"),
    ],
)
def test_everything_else_passes_through(house: House, method: str, path: str) -> None:
    body = b'{"model": "gpt-4o", "input": "hello" }' if method == "POST" else None

    got = house.ask(method, path, body)

    assert got.body == b"from the teacher"
    assert house.teacher.calls[0].target == path.encode()
    assert house.teacher.bodies == [body or b""]
    assert house.flow.requests == []


def test_reasons_of_the_input_reach_the_flow(house: House) -> None:
    body = json.dumps({"model": "gpt-4o", "input": "hello", "previous_response_id": "resp_1"}).encode()

    house.ask("POST", RESPONSES, body)

    assert house.flow.requests[0].unsupported_reason == "previous_response_id"
