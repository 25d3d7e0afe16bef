"""Errors reach the client unchanged, in OpenAI's envelope, and as errors."""

from __future__ import annotations

from tests.conformance.answers import COMPLETION, chunk, head, reply, to_json
from tests.conformance.harness import Harness, WireAnswer, assert_identical, assert_same_json, chat_body
from tests.conformance.table import check
from tests.conformance.teacher import cut, reset

CHAT = "/chat/completions"
CLIENT = "openai-python _base_client.py, _make_status_error"
CALM = "x-should-retry: false"


def refused(status: int, body: bytes, *headers: str, kind: str = "application/json") -> list[bytes]:
    """Return a play that refuses and asks for no retry."""
    return [reply(status, body, CALM, *headers, kind=kind)]


def envelope(code: str | int | None = "some_code", **more: object) -> bytes:
    """Return an error in OpenAI's format."""
    return to_json({"error": {"message": "No.", "type": "some_type", "param": None, "code": code, **more}})


def assert_error(got: WireAnswer) -> None:
    """Demand an error that an official client understands."""
    assert got.status >= 400
    assert (got.value("content-type") or "").startswith("application/json")
    error = got.json["error"]
    assert set(error) >= {"message", "type", "param", "code"}, f"only {sorted(error)}"
    assert error["message"]


def status_kept(number: int, status: int, what: str) -> None:
    """Enter a check that a status and its body arrive unchanged."""

    @check(number, f"{status} ({what}) arrives with its body", source=f"API: Error codes; {CLIENT}")
    def body(harness: Harness) -> None:
        harness.teacher.repeat(refused(status, envelope()))
        got = harness.chat(headers=harness.refused_key)
        assert got.status == status
        assert_same_json(got.body, envelope())


status_kept(301, 400, "bad request")
status_kept(302, 401, "wrong key")
status_kept(303, 403, "country or project not allowed")
status_kept(304, 404, "no such model")
status_kept(305, 405, "wrong method")
status_kept(306, 408, "request timeout")
status_kept(307, 409, "conflict")
status_kept(308, 413, "too large")
status_kept(309, 415, "wrong media type")
status_kept(310, 422, "unprocessable")
status_kept(311, 429, "rate limit or quota")
status_kept(312, 500, "server error")
status_kept(313, 502, "bad gateway")
status_kept(314, 503, "overloaded")
status_kept(315, 529, "overloaded, as some compatible teachers say")


def odd_error(number: int, rule: str, status: int, body: bytes, kind: str = "application/json") -> None:
    """Enter a check that an error in another format arrives unchanged."""

    @check(number, rule, source=f"{CLIENT}: any body is shown to the caller")
    def demand(harness: Harness) -> None:
        harness.teacher.repeat(refused(status, body, kind=kind))
        got = harness.chat()
        assert (got.status, got.value("content-type")) == (status, kind)
        assert_identical(got.body, body)


odd_error(320, "an error in plain text arrives unchanged", 503, b"upstream connect error", "text/plain")
odd_error(321, "an error page in HTML arrives unchanged", 502, b"<html><h1>502</h1></html>\r\n", "text/html")
odd_error(322, "an error without a body has none", 500, b"")
odd_error(323, "unknown fields of an error are kept", 400, envelope(inner={"a": ["b"]}, extra=None))
odd_error(324, "an error code that is a number stays a number", 400, envelope(code=1234))
odd_error(325, "an error without the envelope arrives unchanged", 400, b'{"detail":"no"}')
odd_error(326, "an error with broken JSON arrives unchanged", 500, b'{"error": {"mess')


@check(327, "an error for a stream is plain JSON", source="API: Streaming; openai-python _base_client.py")
def error_for_stream(harness: Harness) -> None:
    harness.teacher.repeat(refused(400, envelope()))
    got = harness.chat(stream=True)
    assert (got.status, got.value("content-type")) == (400, "application/json")
    assert_identical(got.body, envelope())


def bad_request(number: int, what: str, body: bytes) -> None:
    """Enter a check of a request that OpenAI refuses, whether or not the gateway refuses it itself."""

    @check(number, f"{what} is refused with 400 in the envelope", source="API: Error codes, 400")
    def demand(harness: Harness) -> None:
        harness.teacher.repeat(refused(400, envelope()))
        got = harness.ask("POST", CHAT, body)
        assert got.status == 400
        assert_error(got)


bad_request(330, "JSON that ends too early", b'{"model":"gpt-4o","messages":[')
bad_request(
    331, "a body that is not UTF-8", b'{"model":"gpt-4o","messages":[{"role":"user","content":"\xff"}]}'
)
bad_request(332, "an empty body", b"")
bad_request(333, "a body that is not an object", b"[1,2]")
bad_request(334, "a request without a model", b'{"messages":[{"role":"user","content":"x"}]}')
bad_request(335, "a request without messages", b'{"model":"gpt-4o"}')
bad_request(336, "messages of a wrong type", b'{"model":"gpt-4o","messages":"hello"}')
bad_request(337, "an empty list of messages", b'{"model":"gpt-4o","messages":[]}')
bad_request(338, "a temperature that is text", chat_body(temperature="hot"))
bad_request(339, "JSON nested without end", b'{"model":"gpt-4o","messages":' + b"[" * 100_000)


@check(
    340,
    "a wrong method on a known path is refused in the envelope",
    source="API: Error codes; RFC 9110, 15.5.6",
)
def wrong_method(harness: Harness) -> None:
    harness.teacher.repeat(refused(405, envelope(code="method_not_supported")))
    got = harness.ask("PUT", CHAT, b"{}")
    assert got.status in {404, 405}
    assert_error(got)


@check(341, "an unknown path gets the teacher's 404", source="API: Error codes, 404")
def unknown_path(harness: Harness) -> None:
    harness.teacher.repeat(refused(404, envelope(code="unknown_url")))
    got = harness.ask("POST", "/no/such/thing", b"{}")
    assert got.status == 404
    assert_identical(got.body, envelope(code="unknown_url"))


@check(
    342,
    "a request without a key is refused with 401 in the envelope",
    source="API: Authentication; Error codes, 401",
)
def no_key(harness: Harness) -> None:
    bare = Harness(f"http://{harness.address[0]}:{harness.address[1]}{harness.prefix}", harness.teacher)
    bare.headers = {name: value for name, value in harness.headers.items() if name != "authorization"}
    harness.teacher.repeat(refused(401, envelope(code="invalid_api_key")))
    got = bare.ask("POST", CHAT, chat_body())
    assert got.status == 401
    assert_error(got)


@check(
    343,
    "a teacher that resets every connection is a 5xx in the envelope",
    source=f"{CLIENT}: InternalServerError",
)
def unreachable(harness: Harness) -> None:
    harness.teacher.repeat([reset])
    got = harness.chat()
    assert got.status in {500, 502, 503, 504}
    assert_error(got)


@check(344, "a teacher that does not speak HTTP is a 5xx in the envelope", source="RFC 9110, 15.6.3")
def no_http(harness: Harness) -> None:
    harness.teacher.repeat([b"SSH-2.0-OpenSSH_9.2\r\n\r\n", cut])
    got = harness.chat()
    assert got.status in {500, 502, 503, 504}
    assert_error(got)


@check(345, "a teacher that breaks off in its head is a 5xx in the envelope", source="RFC 9110, 15.6.3")
def half_a_head(harness: Harness) -> None:
    harness.teacher.repeat([b"HTTP/1.1 200 OK\r\ncontent-ty", cut])
    got = harness.chat()
    assert got.status in {500, 502, 503, 504}
    assert_error(got)


@check(346, "a plain answer that is cut never looks complete", source="RFC 9112, 8")
def cut_by_length(harness: Harness) -> None:
    opening = head(200, "content-type: application/json", f"content-length: {len(COMPLETION)}")
    harness.teacher.repeat([opening + COMPLETION[:200], cut])
    got = harness.chat()
    assert not got.is_whole or got.status >= 500, "half of an answer was framed as a whole one"


@check(347, "a chunked answer that is cut never looks complete", source="RFC 9112, 8")
def cut_in_chunks(harness: Harness) -> None:
    opening = head(200, "content-type: application/json", "transfer-encoding: chunked")
    harness.teacher.repeat([opening, chunk(COMPLETION[:200]), cut])
    got = harness.chat()
    assert not got.is_whole or got.status >= 500, "half of an answer was framed as a whole one"


@check(348, "a file that is cut never looks complete", source="RFC 9112, 8")
def cut_file(harness: Harness) -> None:
    harness.teacher.repeat([head(200, "content-type: x/y", "content-length: 9000") + b"x" * 4000, cut])
    got = harness.ask("GET", "/files/file-1/content")
    assert not got.is_whole or got.status >= 500


@check(349, "after a failure the next request works", source=f"{CLIENT}: clients ask again")
def next_works(harness: Harness) -> None:
    harness.teacher.repeat([reset])
    harness.chat()
    harness.teacher.forget()
    assert harness.chat().status == 200


@check(350, "a request that may have been carried out is not sent a second time", source="RFC 9110, 9.2.2")
def no_second_upload(harness: Harness) -> None:
    harness.teacher.repeat([reset])
    harness.ask("POST", "/batches", b'{"input_file_id":"file-1"}')
    assert len(harness.teacher.seen) == 1, f"a batch was made {len(harness.teacher.seen)} times"


@check(
    351,
    "a wait of more than a minute is left to the client",
    source="openai-python _base_client.py, retry-after",
)
def long_wait(harness: Harness) -> None:
    harness.teacher.repeat([reply(429, envelope(), "retry-after: 90")])
    got = harness.chat()
    assert (got.status, got.value("retry-after")) == (429, "90")
    assert len(harness.teacher.seen) == 1, f"the teacher was asked {len(harness.teacher.seen)} times"


@check(
    352,
    "x-should-retry: false of the teacher is obeyed",
    source="openai-python _base_client.py, _should_retry",
)
def obeys_should_retry(harness: Harness) -> None:
    harness.teacher.repeat(refused(500, envelope()))
    harness.chat()
    assert len(harness.teacher.seen) == 1, f"the teacher was asked {len(harness.teacher.seen)} times"


@check(
    353, "an answer that is not JSON passes unchanged", source="API: Chat, response_format text of old models"
)
def no_json(harness: Harness) -> None:
    got = harness.chat([reply(200, b"plain words", kind="text/plain")])
    assert (got.status, got.value("content-type"), got.body) == (200, "text/plain", b"plain words")
