"""Encoded and odd bodies, and what crosses the boundary where a gateway holds the teacher's key.

A check of `harness.own` asks a gateway in that mode; in the other mode everything passes.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

import brotli

from tests.conformance.answers import COMPLETION, head, reply, to_json
from tests.conformance.checks.errors import CALM, assert_error, envelope, refused
from tests.conformance.checks.websockets import PATH as REALTIME
from tests.conformance.checks.websockets import Peer, opened
from tests.conformance.harness import Harness, WireAnswer, assert_identical, chat_body
from tests.conformance.table import check

CHAT = "/chat/completions"
OWN = "trust boundary of a gateway with its own key"
AGENTS = "codex-rs: request bodies as zstd; RFC 9110, 8.4"


def zstd(data: bytes) -> bytes:
    """Return a frame with one raw block, for data below 128 kB (RFC 8878, 3.1.1)."""
    header = b"\x28\xb5\x2f\xfd\xa0" + len(data).to_bytes(4, "little")
    return header + (len(data) << 3 | 1).to_bytes(3, "little") + data


ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstd,
    "gzip, br": lambda data: brotli.compress(gzip.compress(data)),
}
FROM_CLIENTS = {
    "cookie": "RFC 6265",
    "forwarded": "RFC 7239",
    "x-forwarded-for": "MDN: X-Forwarded-For",
    "x-real-ip": "nginx: ngx_http_realip_module",
    "cf-connecting-ip": "Cloudflare: HTTP headers",
    "x-auth-request-email": "oauth2-proxy: set-xauthrequest",
    "x-amzn-oidc-data": "AWS ALB: authenticate users",
    "x-goog-iap-jwt-assertion": "Google IAP: signed headers",
    "x-ms-client-principal": "Azure App Service: user identities",
    "x-http-method-override": "OWASP WSTG-CONF-06",
    "x-original-url": "OWASP WSTG-ATHZ-02",
    "x-goog-api-key": "Gemini API",
    "x-api-key": "Anthropic API",
    "api-key": "Azure OpenAI",
    "ocp-apim-subscription-key": "Azure API Management",
    "openai-organization": "API: Authentication",
    "openai-project": "API: Authentication",
}
FROM_TEACHERS = {
    "set-cookie": "session=1",
    "openai-organization": "acme",
    "openai-project": "proj_1",
    "x-ratelimit-limit-requests": "100",
    "x-ratelimit-remaining-tokens": "7",
}


def ask_encoded(harness: Harness, path: str, body: bytes, coding: str) -> WireAnswer:
    """Send `body` in `coding`; demand that the teacher gets the very bytes, and return the answer."""
    harness.teacher.forget()
    packed = ENCODERS[coding](body)
    got = harness.ask("POST", path, packed, {"content-encoding": coding})
    assert harness.teacher.seen, f"{coding}: {got.status} {got.body[:100]!r}"
    assert harness.teacher.last.value("content-encoding") == coding
    assert harness.teacher.last.value("content-length") == str(len(packed))
    assert_identical(harness.teacher.last.body, packed)
    return got


def encoded(number: int, path: str, body: bytes) -> None:
    """Enter a check that encoded requests to `path` are answered, and pass as they came."""

    @check(number, f"an encoded request to {path} is answered, and passes as it came", source=AGENTS)
    def demand(harness: Harness) -> None:
        for coding in ENCODERS:
            got = ask_encoded(harness, path, body, coding)
            assert got.status == 200, f"{coding}: {got.status} {got.body[:100]!r}"


encoded(800, CHAT, chat_body())
encoded(813, "/responses", to_json({"model": "gpt-4o", "input": "Hi"}))
encoded(814, "/embeddings", to_json({"model": "text-embedding-3-small", "input": "Hi"}))


@check(815, "a gateway with its own key takes encoded requests as well", source=AGENTS)
def encoded_own(harness: Harness) -> None:
    for coding in ENCODERS:
        assert ask_encoded(harness.own, CHAT, chat_body(), coding).status == 200, coding


def refused_encoding(number: int, what: str, body: bytes, coding: str, statuses: set[int]) -> None:
    """Enter a check of an encoded body that no one can take, whoever refuses it."""

    @check(number, f"{what} is refused in the envelope", source="RFC 9110, 8.4 and 15.5.14")
    def demand(harness: Harness) -> None:
        harness.teacher.repeat(refused(min(statuses), envelope()))
        got = harness.ask("POST", CHAT, body, {"content-encoding": coding})
        assert got.status in statuses, got.status
        assert_error(got)


refused_encoding(816, "damaged gzip", gzip.compress(chat_body())[:-4], "gzip", {400})
refused_encoding(817, "a gzip bomb", gzip.compress(bytes(200 << 20)), "gzip", {400, 413})


@check(818, "a coding that the gateway does not know is the teacher's to judge", source="RFC 9110, 8.4")
def unknown_coding(harness: Harness) -> None:
    got = harness.ask("POST", CHAT, b"\x01?", {"content-encoding": "zpaq"})
    assert got.status == 200
    assert_identical(harness.teacher.last.body, b"\x01?")


@check(
    819,
    "a gateway with its own key refuses a coding that it does not know with 415",
    source="RFC 9110, 15.5.16; RFC 7694, 3",
)
def unknown_coding_own(harness: Harness) -> None:
    got = harness.own.ask("POST", CHAT, b"\x01?", {"content-encoding": "zpaq"})
    assert got.status == 415
    assert_error(got)
    assert "gzip" in (got.value("accept-encoding") or "")
    assert not harness.teacher.seen, "the teacher was asked"


@check(820, "a request of 45 MB passes", source="OpenAI: PDF files, up to 50 MB in a request")
def large(harness: Harness) -> None:
    url = "data:application/pdf;base64," + "A" * (45 << 20)
    part = {"type": "file", "file": {"filename": "a.pdf", "file_data": url}}
    body = chat_body(messages=[{"role": "user", "content": [part]}])
    got = harness.ask("POST", CHAT, body)
    assert got.status == 200, got.body[:100]
    assert harness.teacher.last.body == body


@check(827, "a 403 reaches the client of a gateway with its own key in the teacher's words", source=OWN)
def forbidden_own(harness: Harness) -> None:
    harness.teacher.repeat(refused(403, envelope(code="model_not_found")))
    got = harness.own.chat()
    assert got.status == 403
    assert_identical(got.body, envelope(code="model_not_found"))


@check(828, "a refusal of the gateway's own key is not the client's error", source="RFC 9110, 15.6.3")
def unauthorized_own(harness: Harness) -> None:
    harness.teacher.repeat(refused(401, envelope(code="invalid_api_key")))
    got = harness.own.chat()
    assert got.status == 502
    assert_error(got)
    assert b"invalid_api_key" not in got.body


def passes_to_judge(number: int, what: str, path: str, source: str, **fields: object) -> None:
    """Enter a check that the teacher judges a request, whatever it says."""
    prompt = {"input": "Hi"} if path == "/responses" else {"messages": [{"role": "user", "content": "Hi"}]}

    @check(number, f"{what} is the teacher's to judge", source=source)
    def demand(harness: Harness) -> None:
        for name, value in fields.items():
            harness.teacher.forget()
            harness.teacher.repeat([reply(422, envelope(), CALM)])
            sent = to_json({"model": "gpt-4o", **prompt, name: value})
            got = harness.ask("POST", path, sent)
            assert got.status == 422, f"{name}: {got.status} {got.body[:100]!r}"
            assert_identical(got.body, envelope())
            assert_identical(harness.teacher.last.body, sent)


JSON_SCHEMA = "JSON Schema 2020-12, 6.1.1: 1.0 is an integer"
passes_to_judge(
    829, "an integer as a float", CHAT, JSON_SCHEMA, n=1.0, max_tokens=256.0, seed=5.0, top_logprobs=2.0
)
passes_to_judge(830, "an integer as a float in responses", "/responses", JSON_SCHEMA, max_output_tokens=256.0)
passes_to_judge(
    836,
    "a value of a type that is not OpenAI's",
    CHAT,
    "vLLM, llama.cpp: OpenAI-compatible servers",
    stop=7,
    model=None,
    messages=[{"role": "user", "content": {"text": "Hi"}}],
    max_tokens=2.5,
    metadata="x",
)


@check(837, "a gateway with its own key takes an integer as a float", source=JSON_SCHEMA)
def integral_float_own(harness: Harness) -> None:
    sent = chat_body(max_tokens=256.0, n=1.0)
    assert harness.own.ask("POST", CHAT, sent).status == 200
    assert_identical(harness.teacher.last.body, sent)


@check(838, "a gateway with its own key refuses what it cannot read before it pays", source=OWN)
def odd_own(harness: Harness) -> None:
    got = harness.own.chat(max_tokens="many")
    assert got.status == 400
    assert_error(got)
    assert not harness.teacher.seen, "the teacher was asked"


@check(
    839,
    "what clients say of themselves stays at a gateway with its own key",
    source=f"{OWN}: {'; '.join(dict.fromkeys(FROM_CLIENTS.values()))}",
)
def client_headers_own(harness: Harness) -> None:
    harness.own.chat(headers=dict.fromkeys(FROM_CLIENTS, "private"))
    leaked = [name for name, value in harness.teacher.last.head.lines if "private" in value]
    assert not leaked, leaked


@check(840, "what clients say of themselves passes where they bring their own key", source="RFC 9110, 5.1")
def client_headers(harness: Harness) -> None:
    harness.chat(headers=dict.fromkeys(FROM_CLIENTS, "private"))
    seen = [name.lower() for name, value in harness.teacher.last.head.lines if "private" in value]
    missing = FROM_CLIENTS.keys() - set(seen)
    assert not missing, missing


@check(
    845,
    "the teacher's account stays at a gateway with its own key",
    source=f"{OWN}: RFC 6265; API: Rate limits in headers; API: Debugging requests",
)
def teacher_headers_own(harness: Harness) -> None:
    lines = [f"{name}: {value}" for name, value in FROM_TEACHERS.items()]
    got = harness.own.chat([reply(200, COMPLETION, *lines, "openai-processing-ms: 7", "x-new: 1")])
    values = {(name.lower(), value) for name, value in got.head.lines}
    leaked = values & FROM_TEACHERS.items()
    assert not leaked, leaked
    assert (got.value("openai-processing-ms"), got.value("x-new")) == ("7", "1")


@check(846, "the teacher's account is shown to clients that bring their own key", source="RFC 9110, 5.1")
def teacher_headers(harness: Harness) -> None:
    lines = [f"{name}: {value}" for name, value in FROM_TEACHERS.items()]
    got = harness.chat([reply(200, COMPLETION, *lines)])
    assert {name: got.value(name) for name in FROM_TEACHERS} == FROM_TEACHERS


@check(
    847,
    "labels of another gateway of the same kind are replaced by a gateway with its own key",
    source=f"{OWN}: a chain of gateways",
)
def chain_own(harness: Harness) -> None:
    got = harness.own.chat([reply(200, COMPLETION, "x-stepdown-served-by: other", "x-stepdown-x: 1")])
    assert got.value("x-stepdown-served-by") != "other"
    assert got.value("x-stepdown-x") is None


@check(
    848,
    "a redirect to the teacher itself does not lead around a gateway with its own key",
    source="RFC 9110, 10.2.2; nginx: proxy_redirect",
)
def redirect_own(harness: Harness) -> None:
    for location in (f"http://127.0.0.1:{harness.teacher.port}/v1/models/a?b=c", "/v1/models/a?b=c"):
        harness.teacher.play([head(307, f"location: {location}", "content-length: 0")])
        got = harness.own.ask("GET", "/models/gpt-4o")
        assert (got.status, got.value("location")) == (307, "/v1/models/a?b=c")


@check(
    849,
    "a websocket of a gateway with its own key carries that key and nothing of the client's",
    source=f"{OWN}; API: Realtime in a browser",
)
def websocket_own(harness: Harness) -> None:
    key = harness.own.headers["authorization"].removeprefix("Bearer ")
    offered = f"realtime, openai-insecure-api-key.{key}, openai-organization.theirs"
    with opened(
        harness.own,
        Peer(protocol="realtime"),
        REALTIME,
        sec_websocket_protocol=offered,
        cookie="private",
        x_goog_api_key="private",
    ):
        seen = harness.teacher.wait()
        assert seen.value("sec-websocket-protocol") == "realtime"
        everything = str(seen.head.lines)
        assert "private" not in everything
        assert "theirs" not in everything
        assert key not in everything
