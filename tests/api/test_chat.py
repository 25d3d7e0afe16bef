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
from tests.api.site_server import CHAT, House, chat_body, open_house

LABELS = (
    (b"x-stepdown-decision", b"local"),
    (b"x-stepdown-score", b"0.9"),
    (b"x-stepdown-threshold", b"0.8"),
)


def test_the_flow_gets_the_clients_own_bytes(house: House) -> None:
    """Body, target and headers reach the flow exactly as sent."""
    body = b' {"messages":[{"content":"h\xc3\xa9llo","role":"user"}] , "model":"gpt-4o","unknown":1.50}'

    house.ask("POST", CHAT + "?a=%2F&b", body, {"X-App": "one"})

    request = house.flow.requests[0]
    assert request.body == body
    assert request.target == b"/v1/chat/completions?a=%2F&b"
    assert (b"x-app", b"one") in request.headers
    assert request.text == "héllo"


def test_an_answer_arrives_whole_with_its_labels_and_ids(house: House) -> None:
    async def answer(_: Request) -> Answer:
        return house.flow.with_body(b'{"a":', b"1}", labels=LABELS)

    house.flow.answer = answer

    got = house.chat()

    assert (got.status, got.body) == (200, b'{"a":1}')
    assert got.header("x-stepdown-decision") == "local"
    assert got.header("x-stepdown-score") == "0.9"
    assert got.header("x-stepdown-request-id") == got.header("x-request-id") == house.flow.requests[0].id
    assert house.flow.signals.closed.is_set()


def test_labels_can_be_turned_off() -> None:
    with open_house(show_labels=False) as house:

        async def answer(_: Request) -> Answer:
            return house.flow.with_body(b"{}", labels=LABELS)

        house.flow.answer = answer
        got = house.chat()

    assert got.header("x-stepdown-decision") is None
    assert got.header("x-stepdown-request-id")


def test_the_teachers_status_and_headers_pass(house: House) -> None:
    """Status, retry-after, ids, rate limits and repeated headers go on; hop-by-hop ones end here."""

    async def answer(_: Request) -> Answer:
        return house.flow.with_body(
            b'{"error":{"message":"slow down"}}',
            status=429,
            headers=(
                (b"Retry-After", b"7"),
                (b"x-request-id", b"req_teacher"),
                (b"x-ratelimit-remaining-requests", b"0"),
                (b"set-cookie", b"a=1"),
                (b"set-cookie", b"b=2"),
                (b"Connection", b"keep-alive, X-Inner"),
                (b"x-inner", b"1"),
                (b"transfer-encoding", b"chunked"),
            ),
        )

    house.flow.answer = answer

    got = house.chat()

    assert got.status == 429
    assert got.header("retry-after") == "7"
    assert got.header("x-request-id") == "req_teacher"
    assert got.header("x-ratelimit-remaining-requests") == "0"
    assert [value for name, value in got.headers if name == "set-cookie"] == ["a=1", "b=2"]
    assert got.header("x-inner") is None
    assert got.body == b'{"error":{"message":"slow down"}}'


@pytest.mark.parametrize(
    ("fault", "status", "code", "retry"),
    [
        (RequestError("no", status=403, param="model", code="forbidden"), 403, "forbidden", None),
        (UpstreamError("refused by 10.0.0.7"), 502, "teacher_unreachable", "false"),
        (UpstreamTimeoutError("10.0.0.7 is late"), 504, "teacher_timeout", "false"),
        (UpstreamCredentialError("sk-secret refused"), 502, "teacher_credential_rejected", "false"),
        (ZeroDivisionError("secret"), 500, "internal_error", None),
    ],
)
def test_a_fault_becomes_openais_envelope(
    house: House, fault: Exception, status: int, code: str, retry: str | None
) -> None:
    """Each kind of fault has its status and code; what it says of our insides stays in the log."""

    async def answer(_: Request) -> Answer:
        raise fault

    house.flow.answer = answer

    got = house.chat()

    assert got.status == status
    assert got.error["code"] == code
    assert got.header("x-should-retry") == retry
    assert got.header("x-stepdown-request-id")
    assert b"10.0.0.7" not in got.body
    assert b"secret" not in got.body


def test_an_answer_which_breaks_after_its_head_is_cut(house: House) -> None:
    """A client can tell a broken answer from a whole one, and the next request works."""

    async def answer(_: Request) -> Answer:
        return house.flow.with_body(b"half", then=_fails())

    house.flow.answer = answer
    plug = house.raw(_post(chat_body()))
    received = b""
    while block := plug.recv(4096):
        received += block
    plug.close()

    assert b"half" in received
    assert not received.endswith(b"0\r\n\r\n")
    house.flow.answer = house.flow.plain
    assert house.chat().status == 200


def test_the_official_client_reads_a_stream(house: House) -> None:
    chunks = [
        {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        | {"choices": [{"index": 0, "delta": {"content": word}, "finish_reason": None}]}
        for word in ("step", "down")
    ]
    events = [b"data: %b\n\n" % json.dumps(chunk).encode() for chunk in chunks]

    async def answer(_: Request) -> Answer:
        return house.flow.with_body(
            *events, b"data: [DONE]\n\n", headers=((b"content-type", b"text/event-stream"),)
        )

    house.flow.answer = answer
    with openai.OpenAI(base_url=house.base_url + "/v1", api_key="any", max_retries=0) as client:
        stream = client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "x"}], stream=True
        )
        text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)

    assert text == "stepdown"
    assert house.flow.requests[0].is_streamed


def test_pieces_reach_the_client_as_they_come(house: House) -> None:
    """A stream is not collected: the first piece arrives while the second is still being made."""
    go_on = asyncio.Event()

    async def answer(_: Request) -> Answer:
        return house.flow.with_body(b"first", then=go_on.wait())

    house.flow.answer = answer
    plug = house.raw(_post(chat_body()))
    received = b""
    while b"first" not in received:
        received += plug.recv(4096)
    plug.close()

    assert house.flow.signals.closed.wait(1.0)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"])
def test_a_wrong_method_is_refused(house: House, method: str) -> None:
    got = house.ask(method, CHAT)

    assert got.status == 405
    assert got.header("allow") == "GET, POST"
    assert not house.teacher.calls


async def _fails() -> None:
    raise UpstreamError("cut")


def _post(body: bytes) -> bytes:
    return b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (
        len(body),
        body,
    )
