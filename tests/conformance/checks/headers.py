"""Headers that pass, and that they pass unchanged."""

from __future__ import annotations

import gzip
import re
import zlib

from tests.conformance.answers import COMPLETION, head, reply
from tests.conformance.harness import Harness, assert_identical
from tests.conformance.table import check

CHAT = "/chat/completions"
PASSED = "RFC 9110, 5.1: fields that a proxy does not know are passed on"


def header_reaches_client(number: int, what: str, source: str, *lines: str, status: int = 200) -> None:
    """Enter a check that header lines of the teacher reach the client of a chat completion."""

    @check(number, f"{what} of an answer reaches the client", source=source)
    def body(harness: Harness) -> None:
        # A gateway that retries by itself then retries to its limit, or not at all.
        calm = () if status == 200 or "x-should-retry: false" in lines else ("x-should-retry: false",)
        harness.teacher.repeat([reply(status, COMPLETION, *lines, *calm)])
        got = harness.chat()
        for line in lines:
            name, _, value = line.partition(": ")
            assert got.value(name) == value, f"{name}: {got.value(name)}"


def header_reaches_teacher(number: int, what: str, source: str, **headers: str) -> None:
    """Enter a check that headers of the client reach the teacher."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}

    @check(number, f"{what} of a request reaches the teacher", source=source)
    def body(harness: Harness) -> None:
        harness.chat(headers=sent)
        for name, value in sent.items():
            assert harness.teacher.last.value(name) == value, f"{name}: {harness.teacher.last.value(name)}"


header_reaches_client(201, "an unknown header", PASSED, "x-brand-new: Some Value")
header_reaches_client(
    202, "retry-after", "API: Error codes, 429; openai-python _base_client.py", "retry-after: 30", status=429
)
header_reaches_client(
    203,
    "retry-after-ms",
    "openai-python _base_client.py, _parse_retry_after_header",
    "retry-after-ms: 45000",
    status=429,
)
header_reaches_client(
    204,
    "x-ratelimit-*",
    "API: Rate limits in headers",
    "x-ratelimit-limit-requests: 100",
    "x-ratelimit-remaining-requests: 99",
    "x-ratelimit-reset-requests: 600ms",
    "x-ratelimit-limit-tokens: 40000",
    "x-ratelimit-remaining-tokens: 39000",
    "x-ratelimit-reset-tokens: 6m0s",
)
header_reaches_client(
    205,
    "openai-*",
    "API: Debugging requests",
    "openai-processing-ms: 412",
    "openai-version: 2020-10-01",
    "openai-organization: org-x",
    "openai-project: proj_x",
)
header_reaches_client(
    206, "x-should-retry", "openai-python _base_client.py, _should_retry", "x-should-retry: false", status=500
)
header_reaches_client(207, "cache-control", "RFC 9111, 5.2", "cache-control: no-store, max-age=0")
header_reaches_client(208, "an empty value", "RFC 9110, 5.5", "x-empty: ")
header_reaches_client(209, "a header of 8 kB", "RFC 9110, 5.4", f"x-long: {'v' * 8000}")

header_reaches_teacher(211, "an unknown header", PASSED, x_brand_new="Some Value")
header_reaches_teacher(
    212,
    "x-stainless-*",
    "openai-python _base_client.py, platform_headers",
    x_stainless_lang="python",
    x_stainless_retry_count="1",
    x_stainless_read_timeout="600",
)
header_reaches_teacher(
    213, "user-agent", "openai-python _base_client.py, user_agent", user_agent="OpenAI/Python 3.54.0"
)
header_reaches_teacher(214, "openai-beta", "API: Assistants, beta header", openai_beta="assistants=v2")
header_reaches_teacher(
    215, "idempotency-key", "openai-node src/client.ts, idempotencyHeader", idempotency_key="stainless-1"
)
header_reaches_teacher(216, "accept", "RFC 9110, 12.5.1", accept="application/json")
header_reaches_teacher(
    217, "x-client-request-id", "API: Debugging requests, client request id", x_client_request_id="my-id-1"
)
header_reaches_teacher(
    218, "content-type with parameters", "RFC 9110, 8.3", content_type="application/json; charset=utf-8"
)
header_reaches_teacher(219, "cookie", "RFC 6265, 5.4", cookie="a=1; b=2")
header_reaches_teacher(220, "baggage", "W3C Baggage, 3.3", baggage="user=1")


@check(
    221,
    "the teacher's request id is the only one",
    source="API: Debugging requests; openai-python _request_id",
)
def request_id(harness: Harness) -> None:
    got = harness.chat([reply(200, COMPLETION, "x-request-id: req_teacher")])
    assert got.value("x-request-id") == "req_teacher"


@check(222, "an answer has a request id", source="API: Debugging requests; openai-node _request_id")
def own_request_id(harness: Harness) -> None:
    assert harness.chat().value("x-request-id")


@check(223, "the date is the teacher's, and there is one", source="RFC 9110, 6.6.1")
def date(harness: Harness) -> None:
    got = harness.chat([reply(200, COMPLETION, "date: Mon, 02 Nov 2026 10:00:00 GMT")])
    assert got.value("date") == "Mon, 02 Nov 2026 10:00:00 GMT"


@check(224, "an answer without a date gets one", source="RFC 9110, 6.6.1")
def added_date(harness: Harness) -> None:
    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT", harness.chat().value("date") or "")


@check(225, "hop-by-hop headers of a request end at the gateway", source="RFC 9110, 7.6.1")
def hop_by_hop_up(harness: Harness) -> None:
    named = {
        "connection": "keep-alive, x-private",
        "x-private": "1",
        "te": "trailers",
        "keep-alive": "timeout=5",
    }
    harness.chat(headers={**named, "proxy-authorization": "Basic c2VjcmV0", "upgrade": "h2c"})
    seen = harness.teacher.last
    for name in ("x-private", "keep-alive", "proxy-authorization", "upgrade"):
        assert seen.value(name) is None, f"{name} arrived"
    assert "x-private" not in (seen.value("connection") or "")


@check(226, "hop-by-hop headers of an answer end at the gateway", source="RFC 9110, 7.6.1")
def hop_by_hop_down(harness: Harness) -> None:
    lines = ("connection: x-private", "x-private: 1", "keep-alive: timeout=77", "proxy-authenticate: Basic")
    got = harness.chat([reply(200, COMPLETION, *lines)])
    for name in ("x-private", "proxy-authenticate"):
        assert got.value(name) is None, f"{name} arrived"
    assert "timeout=77" not in (got.value("keep-alive") or "")


@check(227, "headers of an answer sent twice stay two, in order", source="RFC 9110, 5.3")
def duplicates_down(harness: Harness) -> None:
    got = harness.chat([reply(200, COMPLETION, "set-cookie: a=1", "x-two: 1", "set-cookie: b=2", "x-two: 2")])
    assert got.head.values("set-cookie") == ["a=1", "b=2"]
    assert ", ".join(got.head.values("x-two")) == "1, 2"


@check(228, "headers of a request sent twice keep both values, in order", source="RFC 9110, 5.3")
def duplicates_up(harness: Harness) -> None:
    harness.ask("GET", "/files", None, None, "x-two: 1", "x-other: 0", "x-two: 2")
    assert ", ".join(harness.teacher.last.head.values("x-two")) == "1, 2"


@check(229, "bytes beyond ASCII in a header of an answer are kept", source="RFC 9110, 5.5 (obs-text)")
def odd_bytes_down(harness: Harness) -> None:
    got = harness.chat([reply(200, COMPLETION, "x-name: caf\xe9")])
    assert got.value("x-name") == "caf\xe9"


@check(230, "UTF-8 in a header of a request is kept", source="RFC 9110, 5.5 (obs-text)")
def odd_bytes_up(harness: Harness) -> None:
    harness.chat(headers={"x-name": "café".encode().decode("latin-1")})
    assert harness.teacher.last.value("x-name") == "café".encode().decode("latin-1")


@check(231, "one credential reaches the teacher, as bearer", source="API: Authentication")
def credential(harness: Harness) -> None:
    harness.chat()
    assert (harness.teacher.last.value("authorization") or "").startswith("Bearer ")


@check(232, "the teacher is addressed by its own host", source="RFC 9112, 3.2.1")
def host(harness: Harness) -> None:
    harness.chat()
    assert harness.teacher.last.value("host") == f"127.0.0.1:{harness.teacher.port}"


@check(233, "a gzipped answer arrives as the same bytes", source="RFC 9110, 8.4")
def gzipped(harness: Harness) -> None:
    packed = gzip.compress(COMPLETION)
    harness.teacher.play([reply(200, packed, "content-encoding: gzip")])
    got = harness.ask(
        "POST",
        CHAT,
        b'{"model":"gpt-4o","messages":[{"role":"user","content":"x"}]}',
        {"accept-encoding": "gzip"},
    )
    assert got.value("content-encoding") == "gzip"
    assert_identical(got.body, packed)


@check(234, "a client that takes no encoding gets none", source="RFC 9110, 12.5.3")
def identity(harness: Harness) -> None:
    got = harness.chat(headers={"accept-encoding": "identity"})
    assert harness.teacher.last.value("accept-encoding") in {"identity", None}
    assert got.value("content-encoding") is None


@check(235, "an encoding that only the client knows passes unchanged", source="RFC 9110, 8.4; RFC 7932")
def brotli(harness: Harness) -> None:
    harness.teacher.play([reply(200, b"\x0b\x00\x80{}\x03", "content-encoding: br", kind="text/plain")])
    got = harness.ask("GET", "/files/file-1/content", headers={"accept-encoding": "br"})
    assert got.value("content-encoding") == "br"
    assert_identical(got.body, b"\x0b\x00\x80{}\x03")


@check(236, "a compressed request passes unchanged", source="RFC 9110, 8.4")
def compressed_request(harness: Harness) -> None:
    packed = zlib.compress(b'{"input":"a"}')
    harness.ask("POST", "/moderations", packed, {"content-encoding": "deflate"})
    assert harness.teacher.last.value("content-encoding") == "deflate"
    assert_identical(harness.teacher.last.body, packed)


@check(237, "a redirect is left to the client", source="RFC 9110, 15.4")
def redirect(harness: Harness) -> None:
    harness.teacher.play([head(307, "location: https://elsewhere/v1/x", "content-length: 0")])
    got = harness.ask("GET", "/files/file-1/content")
    assert (got.status, got.value("location")) == (307, "https://elsewhere/v1/x")
    assert len(harness.teacher.seen) == 1


@check(238, "cookies of one client never reach another's request", source="RFC 6265, 5.4")
def cookies(harness: Harness) -> None:
    harness.chat([reply(200, COMPLETION, "set-cookie: session=secret; path=/")])
    harness.chat()
    assert harness.teacher.last.value("cookie") is None


@check(239, "header names are matched in any case", source="RFC 9110, 5.1")
def name_case(harness: Harness) -> None:
    key = harness.headers["authorization"]
    bare = Harness(f"http://{harness.address[0]}:{harness.address[1]}{harness.prefix}", harness.teacher)
    bare.headers = {name: value for name, value in harness.headers.items() if name != "authorization"}
    body = b'{"model":"gpt-4o","messages":[{"role":"user","content":"x"}]}'
    got = bare.ask("POST", CHAT, body, {"AUTHORIZATION": key, "CONTENT-TYPE": "application/json"})
    assert got.status == 200


@check(240, "a range of a file can be asked for", source="RFC 9110, 14.2")
def partial(harness: Harness) -> None:
    harness.teacher.play([reply(206, b"abc", "content-range: bytes 0-2/9", kind="text/plain")])
    got = harness.ask("GET", "/files/file-1/content", headers={"range": "bytes=0-2"})
    assert (got.status, got.value("content-range"), got.body) == (206, "bytes 0-2/9", b"abc")
    assert harness.teacher.last.value("range") == "bytes=0-2"
