"""POST /v1/chat/completions over a real socket."""

from __future__ import annotations

import asyncio
import json

import openai
import pytest

from gateway.core import Answer, Request
from gateway.errors import (
    RequestError,
    UpstreamCredentialError,
    UpstreamError,
    UpstreamTimeoutError,
)
from tests.api.site_server import CHAT, SiteServer, chat_body, serve_site
from tests.support.waiting import PATIENCE_S

LABELS = (
    (b"x-stepdown-decision", b"local"),
    (b"x-stepdown-score", b"0.9"),
    (b"x-stepdown-threshold", b"0.8"),
)


def test_the_flow_gets_the_clients_own_bytes(site: SiteServer) -> None:
    """Body, target and headers reach the flow exactly as sent."""
    body = b' {"messages":[{"content":"h\xc3\xa9llo","role":"user"}] , "model":"gpt-4o","unknown":1.50}'

    site.ask("POST", CHAT + "?a=%2F&b", body, {"X-App": "one"})

    request = site.flow.requests[0]
    assert request.body == body
    assert request.target == b"/v1/chat/completions?a=%2F&b"
    assert (b"x-app", b"one") in request.headers
    assert request.text == "héllo"


def test_an_answer_arrives_whole_with_its_labels_and_ids(site: SiteServer) -> None:
    async def answer(_: Request) -> Answer:
        return site.flow.with_body(b'{"a":', b"1}", labels=LABELS)

    site.flow.answer = answer

    response = site.chat()

    assert (response.status, response.body) == (200, b'{"a":1}')
    assert response.header("x-stepdown-decision") == "local"
    assert response.header("x-stepdown-score") == "0.9"
    ids = {response.header("x-stepdown-request-id"), response.header("x-request-id")}
    assert ids == {site.flow.requests[0].id}
    assert site.flow.signals.closed.is_set()


def test_labels_can_be_turned_off() -> None:
    with serve_site(show_labels=False) as site:

        async def answer(_: Request) -> Answer:
            return site.flow.with_body(b"{}", labels=LABELS)

        site.flow.answer = answer
        response = site.chat()

    assert response.header("x-stepdown-decision") is None
    assert response.header("x-stepdown-request-id")


def test_the_teachers_status_and_headers_pass(site: SiteServer) -> None:
    """Status, retry-after, ids, rate limits and repeated headers go on; hop-by-hop ones end here."""

    async def answer(_: Request) -> Answer:
        return site.flow.with_body(
            b'{"error":{"message":"slow down"}}',
            status=429,
            headers=(
                (b"retry-after", b"7"),
                (b"x-request-id", b"req_teacher"),
                (b"x-ratelimit-remaining-requests", b"0"),
                (b"set-cookie", b"a=1"),
                (b"set-cookie", b"b=2"),
                (b"connection", b"keep-alive, X-Inner"),
                (b"x-inner", b"1"),
                (b"transfer-encoding", b"chunked"),
            ),
        )

    site.flow.answer = answer

    response = site.chat()

    assert response.status == 429
    assert response.header("retry-after") == "7"
    assert response.header("x-request-id") == "req_teacher"
    assert response.header("x-ratelimit-remaining-requests") == "0"
    assert [value for name, value in response.headers if name == "set-cookie"] == ["a=1", "b=2"]
    assert response.header("x-inner") is None
    assert response.body == b'{"error":{"message":"slow down"}}'


@pytest.mark.parametrize(
    ("error", "status", "code", "retry"),
    [
        (RequestError("no", status=403, param="model", code="forbidden"), 403, "forbidden", None),
        (UpstreamError("refused by 10.0.0.7"), 502, "teacher_unreachable", None),
        (UpstreamTimeoutError("10.0.0.7 is late"), 504, "teacher_timeout", None),
        (UpstreamCredentialError("sk-secret refused"), 502, "teacher_credential_rejected", "false"),
        (ZeroDivisionError("secret"), 500, "internal_error", None),
    ],
)
def test_an_error_becomes_openais_error_object(
    site: SiteServer, error: Exception, status: int, code: str, retry: str | None
) -> None:
    """Each kind of error has its status and code; its details of our insides stay in the log."""

    async def answer(_: Request) -> Answer:
        raise error

    site.flow.answer = answer

    response = site.chat()

    assert response.status == status
    assert response.error["code"] == code
    assert response.header("x-should-retry") == retry
    assert response.header("x-stepdown-request-id")
    assert b"10.0.0.7" not in response.body
    assert b"secret" not in response.body


def test_an_answer_that_breaks_off_after_its_head_is_cut(site: SiteServer) -> None:
    """A client can distinguish a broken answer from a whole one, and the next request works."""

    async def answer(_: Request) -> Answer:
        return site.flow.with_body(b"half", then=_fails())

    site.flow.answer = answer
    sock = site.open_socket(_post(chat_body()))
    received = b""
    while block := sock.recv(4096):
        received += block
    sock.close()

    assert b"half" in received
    assert not received.endswith(b"0\r\n\r\n")
    site.flow.answer = site.flow.default_answer
    assert site.chat().status == 200


def test_the_official_client_reads_a_stream(site: SiteServer) -> None:
    chunks = [
        {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        | {"choices": [{"index": 0, "delta": {"content": word}, "finish_reason": None}]}
        for word in ("step", "down")
    ]
    events = [b"data: %b\n\n" % json.dumps(chunk).encode() for chunk in chunks]

    async def answer(_: Request) -> Answer:
        return site.flow.with_body(
            *events, b"data: [DONE]\n\n", headers=((b"content-type", b"text/event-stream"),)
        )

    site.flow.answer = answer
    with openai.OpenAI(base_url=site.base_url + "/v1", api_key="any", max_retries=0) as client:
        stream = client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "x"}], stream=True
        )
        text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)

    assert text == "stepdown"
    assert site.flow.requests[0].is_streamed


def test_pieces_reach_the_client_as_they_come(site: SiteServer) -> None:
    """A stream is not collected: the first piece arrives while the second is still being made."""
    go_on = asyncio.Event()

    async def answer(_: Request) -> Answer:
        return site.flow.with_body(b"first", then=go_on.wait())

    site.flow.answer = answer
    sock = site.open_socket(_post(chat_body()))
    received = b""
    while b"first" not in received:
        received += sock.recv(4096)
    sock.close()

    assert site.flow.signals.closed.wait(PATIENCE_S)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"])
def test_a_wrong_method_is_refused(site: SiteServer, method: str) -> None:
    response = site.ask(method, CHAT)

    assert response.status == 405
    assert response.header("allow") == "GET, POST"
    assert not site.teacher.calls


async def _fails() -> None:
    raise UpstreamError("cut")


def _post(body: bytes) -> bytes:
    return b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (
        len(body),
        body,
    )
