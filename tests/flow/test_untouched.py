"""The teacher's answers pass through the whole gateway unchanged, in forward mode."""

from __future__ import annotations

import gzip
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from gateway.demo.teacher.faults import Fault
from tests.api.site_server import CHAT
from tests.flow.conftest import TEACHER_KEY
from tests.support.processes import RunningGateway, gateway_process
from tests.support.teacher import RunningTeacher
from tests.support.waiting import PATIENCE_S, wait_for

KNOWN = {"authorization": f"Bearer {TEACHER_KEY}"}
JSON = {"content-type": "application/json", **KNOWN}
# Odd spaces, an escape, an unknown field: a gateway that parses and serializes again shows itself.
ODD_QUESTION = (
    b'{ "model":"gpt-4o",\n "x_unknown" : {"deep":[1, 2.50]},'
    b'"messages":[{"role":"user","content":"caf\\u00e9", "x":1}]%b }'
)
ODD_ANSWER = b'{"id":"x", "x_new":[1.0,  2],"choices":[ {"message":{"content":"caf\\u00e9"}}] }\n'
ODD_STREAM = (
    b': a comment\r\n\r\nevent: odd\ndata: {"x_new": 1.50}\n\n'
    b'data: {"choices":[{"index":0,"delta":{"content":"hi"},"x":1}]}\n\n'
    b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
)
SSE = (("content-type", "text/event-stream"),)


@pytest.fixture(scope="module")
def gateway(home: Path, running: RunningTeacher) -> Iterator[RunningGateway]:
    with gateway_process(home, OPENAI_BASE_URL=running.base_url, STEPDOWN_LEARN_ENABLED="false") as gateway:
        yield gateway


def client_of(gateway: RunningGateway, key: str = TEACHER_KEY) -> openai.OpenAI:
    return openai.OpenAI(base_url=gateway.base_url, api_key=key, max_retries=0, timeout=PATIENCE_S)


def send_raw(gateway: RunningGateway, body: bytes) -> socket.socket:
    """Send a chat completion by hand and return the open socket."""
    connection = socket.create_connection(("127.0.0.1", gateway.port), timeout=PATIENCE_S)
    head = (
        f"POST {CHAT} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TEACHER_KEY}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    connection.sendall(head.encode() + body)
    return connection


def assert_cancelled(teacher: RunningTeacher) -> None:
    """Wait until the teacher's call is cancelled (conformance 451 to 454 demand it within a second)."""
    wait_for(lambda: teacher.control.cancelled, "the teacher still works for a client that left")


def test_a_plain_request_and_its_answer_keep_every_byte(
    gateway: RunningGateway, teacher: RunningTeacher
) -> None:
    teacher.control.fail_next(Fault(body=ODD_ANSWER))

    got = gateway.ask("POST", CHAT, ODD_QUESTION % b"", JSON)

    assert (got.status, got.body) == (200, ODD_ANSWER)
    assert teacher.control.seen[-1].body == ODD_QUESTION % b""
    assert got.header("x-stepdown-decision") == "bypass", "an unknown field is the teacher's"


def test_a_streamed_request_and_its_answer_keep_every_byte(
    gateway: RunningGateway, teacher: RunningTeacher
) -> None:
    teacher.control.fail_next(Fault(body=ODD_STREAM, headers=SSE, is_chunked=True))

    got = gateway.ask("POST", CHAT, ODD_QUESTION % b', "stream" : true', JSON)

    assert got.body == ODD_STREAM
    assert got.header("content-type") == "text/event-stream"
    assert teacher.control.seen[-1].body == ODD_QUESTION % b', "stream" : true'


def test_a_compressed_answer_stays_compressed(gateway: RunningGateway, teacher: RunningTeacher) -> None:
    packed = gzip.compress(ODD_ANSWER)
    teacher.control.fail_next(Fault(body=packed, headers=(("content-encoding", "gzip"),)))

    got = gateway.ask("POST", CHAT, ODD_QUESTION % b"", {**JSON, "accept-encoding": "gzip"})

    assert (got.body, got.header("content-encoding")) == (packed, "gzip")


def test_the_official_client_reads_a_plain_answer(gateway: RunningGateway, teacher: RunningTeacher) -> None:
    teacher.control.pairs["ping"] = "pong"
    with client_of(gateway) as client:
        raw = client.chat.completions.with_raw_response.create(
            model="gpt-4o", messages=[{"role": "user", "content": "ping"}]
        )

    assert raw.parse().choices[0].message.content == "pong"
    assert raw.headers["x-simulated-teacher"] == "true"
    assert raw.headers["x-stepdown-decision"] == "escalated"


def test_the_official_client_reads_a_streamed_answer(
    gateway: RunningGateway, teacher: RunningTeacher
) -> None:
    teacher.control.pairs["ping"] = "one two three"
    with client_of(gateway) as client:
        chunks = list(
            client.chat.completions.create(
                model="gpt-4o",
                messages=[{"role": "user", "content": "ping"}],
                stream=True,
                stream_options={"include_usage": True},
            )
        )

    words = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(words) == "one two three"
    assert chunks[-1].usage is not None


def test_a_stream_arrives_while_it_is_generated(gateway: RunningGateway, teacher: RunningTeacher) -> None:
    teacher.control.fail_next(Fault(body=ODD_STREAM, headers=SSE, chunk_delay_ms=50))
    connection = send_raw(gateway, ODD_QUESTION % b',"stream":true')
    with connection:
        seen = b""
        while b": a comment" not in seen:
            seen += connection.recv(65536)

        assert b"[DONE]" not in seen


@pytest.mark.parametrize("status", [400, 403, 404, 422, 429, 500, 503])
def test_a_teachers_error_keeps_status_body_and_headers(
    gateway: RunningGateway, teacher: RunningTeacher, status: int
) -> None:
    body = b'{"error": {"message":"no",  "type":"x", "param":null, "code":"y", "extra":1}}'
    headers = {
        "retry-after": "30",
        "x-request-id": "req_teacher",
        "x-ratelimit-limit-requests": "100",
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-requests": "1s",
    }
    teacher.control.fail_next(Fault(status=status, body=body, headers=tuple(headers.items())))

    got = gateway.chat(JSON)

    assert (got.status, got.body) == (status, body)
    assert {name: got.header(name) for name in headers} == headers
    assert teacher.control.requests == 1, "the client waits for 30 seconds, not the gateway"


def test_a_hiccup_of_the_teacher_is_hidden(gateway: RunningGateway, teacher: RunningTeacher) -> None:
    teacher.control.fail_next(Fault(status=503, headers=(("retry-after-ms", "1"),)))

    assert gateway.chat(JSON).status == 200
    assert teacher.control.requests == 2


FORM = (
    b'--edge\r\ncontent-disposition: form-data; name="file"; filename="a.bin"\r\n\r\n'
    + bytes(range(256)) * 40
    + b"\r\n--edge--\r\n"
)


@pytest.mark.parametrize(
    ("method", "target", "kind", "body"),
    [
        ("POST", "/v1/files", "multipart/form-data; boundary=edge", FORM),
        ("POST", "/v1/embeddings", "application/json", b'{"input" : "a"}'),
        ("POST", "/v1/completions", "application/json", b'{"prompt" : "a", "x":1.0}'),
        ("POST", "/v1/moderations", "application/json", b'{"input" : "caf\\u00e9"}'),
        ("POST", "/v1/images/generations", "application/json", b'{ "prompt":"a"}'),
        ("POST", "/v1/images/edits", "multipart/form-data; boundary=edge", FORM),
        ("POST", "/v1/audio/speech", "application/json", b'{ "input":"a"}'),
        ("POST", "/v1/audio/transcriptions", "multipart/form-data; boundary=edge", FORM),
        ("POST", "/v1/uploads", "application/json", b'{ "bytes":10240}'),
        ("POST", "/v1/uploads/upload_1/parts", "multipart/form-data; boundary=edge", FORM),
        ("POST", "/v1/batches", "application/json", b'{ "input_file_id":"f"}'),
        ("POST", "/v1/batches/batch_1/cancel", "", b""),
        ("GET", "/v1/vector_stores/vs_1/files?limit=2&after=file%2D1&order=desc", "", None),
        ("POST", "/v1/fine_tuning/jobs", "application/json", b'{ "model":"gpt-4o"}'),
        ("GET", "/v1/fine_tuning/jobs/ftjob-1/events?limit=2", "", None),
        ("DELETE", "/v1/models/ft:gpt-4o:org::1", "", None),
        ("GET", "/v1/files/file-1/content", "", None),
        ("PUT", "/v1/x/y", "application/octet-stream", bytes(range(256))),
        ("PATCH", "/v1/x", "text/plain", b"x"),
        ("DELETE", "/v1/files/file-1", "", None),
        ("GET", "/v1/a%2Fb/c%20d//e?q=%2F&q=2&r=a+b&s", "", None),
        ("OPTIONS", "/v1/anything", "", None),
    ],
)
def test_any_other_path_passes_untouched(
    gateway: RunningGateway,
    teacher: RunningTeacher,
    *,
    method: str,
    target: str,
    kind: str,
    body: bytes | None,
) -> None:
    answer = bytes(range(256))[::-1]
    teacher.control.fail_next(
        Fault(status=207, body=answer, headers=(("content-type", "x/odd"), ("x-odd", "1"), ("x-odd", "2")))
    )

    got = gateway.ask(method, target, body, {**KNOWN, **({"content-type": kind} if kind else {})})

    assert (got.status, got.body, got.header("content-type")) == (207, answer, "x/odd")
    assert [value for name, value in got.headers if name == "x-odd"] == ["1", "2"]
    seen = teacher.control.seen[-1]
    assert (seen.method, seen.target, seen.body) == (method, target, body or b"")
    assert seen.header("content-type") == ([kind] if kind else [])


def test_events_of_another_path_stream_through(gateway: RunningGateway, teacher: RunningTeacher) -> None:
    teacher.control.fail_next(Fault(status=200, body=ODD_STREAM, headers=SSE, is_chunked=True))

    got = gateway.ask("POST", "/v1/images/generations", b'{"stream":true}', JSON)

    assert (got.body, got.header("content-type")) == (ODD_STREAM, "text/event-stream")


def test_the_teachers_models_are_listed(gateway: RunningGateway, teacher: RunningTeacher) -> None:
    with client_of(gateway) as client:
        assert [model.id for model in client.models.list()] == ["gpt-4o"]
        assert client.models.retrieve("gpt-4o").owned_by == "simulated-teacher"


def test_a_client_that_leaves_before_the_head_cancels_the_teachers_call(
    gateway: RunningGateway, teacher: RunningTeacher
) -> None:
    teacher.control.fail_next(Fault(is_hung=True))
    connection = send_raw(gateway, ODD_QUESTION % b"")
    wait_for(lambda: teacher.control.requests, "the teacher was not asked")

    connection.close()

    assert_cancelled(teacher)


def test_a_client_that_leaves_a_stream_cancels_the_teachers_call(
    gateway: RunningGateway, teacher: RunningTeacher
) -> None:
    teacher.control.fail_next(Fault(body=ODD_STREAM * 500, headers=SSE, chunk_delay_ms=50))
    connection = send_raw(gateway, ODD_QUESTION % b',"stream":true')
    while b"data:" not in connection.recv(65536):
        pass

    connection.close()

    assert_cancelled(teacher)


def test_a_client_that_leaves_another_path_cancels_the_teachers_call(
    gateway: RunningGateway, teacher: RunningTeacher
) -> None:
    teacher.control.fail_next(Fault(is_hung=True))
    connection = socket.create_connection(("127.0.0.1", gateway.port))
    connection.sendall(
        f"GET /v1/files HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TEACHER_KEY}\r\n\r\n".encode()
    )
    wait_for(lambda: teacher.control.requests, "the teacher was not asked")

    connection.close()

    assert_cancelled(teacher)


@pytest.mark.parametrize("is_reset", [False, True], ids=["closed", "reset"])
def test_a_stream_that_the_teacher_cuts_ends_with_an_error(
    gateway: RunningGateway, teacher: RunningTeacher, is_reset: bool
) -> None:
    cut = ODD_STREAM.index(b'data: {"choices":[{"index":0,"delta":{},')
    fault = Fault(body=ODD_STREAM, headers=SSE, is_chunked=True, cut_after=cut, is_reset=is_reset)
    teacher.control.fail_next(fault)

    got = gateway.chat(JSON, stream=True)

    # A reset may overtake the bytes before it: how many of them arrive depends on the network.
    before, _, last = got.body.rstrip().rpartition(b"data: ")
    assert ODD_STREAM.startswith(before.rstrip()) or not before
    assert json.loads(last)["error"]["code"] == "stream_cut"
    assert b"[DONE]" not in got.body


@pytest.mark.parametrize("inside", [0, 20], ids=["between events", "inside an event"])
def test_the_official_client_raises_on_a_cut_stream(
    gateway: RunningGateway, teacher: RunningTeacher, inside: int
) -> None:
    cut = ODD_STREAM.index(b'data: {"choices"') + inside
    teacher.control.fail_next(Fault(body=ODD_STREAM, headers=SSE, is_chunked=True, cut_after=cut))
    with client_of(gateway) as client, pytest.raises(openai.APIError, match="broken off"):
        list(
            client.chat.completions.create(
                model="gpt-4o", messages=[{"role": "user", "content": "x"}], stream=True
            )
        )


def test_an_unreachable_teacher_is_a_502_and_the_next_request_works(
    gateway: RunningGateway, teacher: RunningTeacher
) -> None:
    # More than its retries: a connection that was kept open may be replaced once without counting.
    teacher.control.fail_next(Fault(is_reset=True), times=30)

    refused = gateway.chat(JSON)

    assert (refused.status, refused.error["code"]) == (502, "teacher_unreachable")
    teacher.control.forget()
    assert gateway.chat(JSON).status == 200


def test_a_request_without_json_costs_nothing(gateway: RunningGateway, teacher: RunningTeacher) -> None:
    got = gateway.ask("POST", CHAT, b'{"model": "gpt-4o", "messages": [', JSON)

    assert got.status == 400
    assert got.error["type"] == "invalid_request_error"
    assert teacher.control.requests == 0
    assert gateway.chat(JSON).status == 200


def test_the_clients_own_credential_reaches_the_teacher(
    gateway: RunningGateway, teacher: RunningTeacher
) -> None:
    gateway.chat(JSON)

    assert teacher.control.seen[-1].header("authorization") == [f"Bearer {TEACHER_KEY}"]


def test_a_credential_that_the_teacher_refuses_gets_the_teachers_401(
    gateway: RunningGateway, teacher: RunningTeacher
) -> None:
    with client_of(gateway, "sk-wrong") as client, pytest.raises(openai.AuthenticationError) as refused:
        client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "x"}])

    assert refused.value.response.headers["x-simulated-teacher"] == "true"


def test_without_a_credential_the_teacher_is_not_asked(
    gateway: RunningGateway, teacher: RunningTeacher
) -> None:
    got = gateway.chat()

    assert (got.status, got.error["code"]) == (401, "invalid_api_key")
    assert teacher.control.requests == 0
