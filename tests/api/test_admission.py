"""Before a body is read, a key's paths and limits decide; every refusal says so in its labels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from gateway.api.auth import Authenticator
from gateway.core import Answer, Grant, Limits, Request
from gateway.errors import RequestError, UpstreamError
from gateway.policy.key_limits import KeyLimits
from gateway.store.keys import KeyFacts, hash_key
from gateway.store.shared_counters import Counters
from tests.api.site_server import SiteServer, chat_head, serve_site

BEARER = {"Authorization": "Bearer sd-limited"}
Refusal = tuple[int, str, str, str]


def key(grant: Grant = Grant(), **limits: Any) -> KeyFacts:  # noqa: B008 - frozen
    return KeyFacts(
        id="key-1", name="app", tenant="app", created_at=0.0, grant=grant, limits=Limits(**limits)
    )


class LimitedSite:
    """A site with one key, what it counted as used, and the refusals that it counted."""

    def __init__(
        self, site: SiteServer, holder: KeyFacts, limits: KeyLimits, refusals: list[Refusal]
    ) -> None:
        self.site = site
        self.refusals = refusals
        self._holder = holder
        self._limits = limits

    def used(self) -> list[float]:
        return [use.used for use in self._limits.report_use(self._holder)]


@pytest.fixture
def holder(request: pytest.FixtureRequest) -> KeyFacts:
    made: KeyFacts = request.param
    return made


@pytest.fixture
def limited(holder: KeyFacts) -> Iterator[LimitedSite]:
    limits = KeyLimits(Counters(None))
    refusals: list[Refusal] = []
    known = {hash_key(b"sd-limited"): holder}
    with serve_site(
        Authenticator("keys", known.get),
        key_limits=limits,
        count_refusal=lambda *refusal: refusals.append(refusal),
    ) as site:
        yield LimitedSite(site, holder, limits, refusals)


@pytest.mark.parametrize("holder", [key(requests_per_minute=1)], indirect=True)
def test_a_request_beyond_the_limit_is_refused_before_its_body_is_read(limited: LimitedSite) -> None:
    assert limited.site.chat(BEARER).status == 200

    sock = limited.site.open_socket(chat_head(500, b"authorization: Bearer sd-limited\r\n"))
    answer = sock.recv(65536)
    sock.close()

    assert answer.startswith(b"HTTP/1.1 429 ")
    assert b"retry-after-ms: " in answer
    assert b"x-ratelimit-remaining-requests: 0" in answer
    assert limited.refusals == [(429, "rate limit exceeded", "app", "")]


@pytest.mark.parametrize("holder", [key(requests_per_minute=60)], indirect=True)
def test_every_answer_to_a_limited_key_says_what_is_left(limited: LimitedSite) -> None:
    """A teacher's own limits are those of its account: under the same name ours stands alone."""

    async def answer(_: Request) -> Answer:
        return limited.site.flow.with_body(b"{}", headers=((b"x-ratelimit-limit-requests", b"9999"),))

    limited.site.flow.answer = answer

    got = limited.site.chat(BEARER)

    assert [value for name, value in got.headers if name == "x-ratelimit-limit-requests"] == ["60"]
    assert got.header("x-ratelimit-remaining-requests") == "59"
    assert got.header("x-ratelimit-limit-tokens") is None


@pytest.mark.parametrize("holder", [key(tokens_per_minute=1_000)], indirect=True)
def test_tokens_are_counted_by_body_and_by_the_longest_answer(limited: LimitedSite) -> None:
    limited.site.chat(BEARER, max_tokens=500)

    (request,) = limited.site.flow.requests
    assert request.reserved_tokens == len(request.body) / 4 + 500
    assert limited.used() == [pytest.approx(request.reserved_tokens, abs=1)]
    assert limited.site.chat(BEARER, max_tokens=500).error["type"] == "tokens"


@pytest.mark.parametrize("holder", [key(tokens_per_minute=1_000, concurrent_requests=5)], indirect=True)
def test_what_no_teacher_saw_costs_no_tokens(limited: LimitedSite) -> None:
    async def answer(_: Request) -> Answer:
        raise RequestError("no", status=403, code="forbidden_by_policy", policy="interns")

    limited.site.flow.answer = answer

    assert limited.site.chat(BEARER, max_tokens=500).status == 403
    assert limited.used() == [0, 0]
    assert limited.refusals == [(403, "forbidden by policy", "app", "interns")]


@pytest.mark.parametrize("holder", [key(concurrent_requests=1)], indirect=True)
@pytest.mark.parametrize("error", [None, UpstreamError("away"), ZeroDivisionError()])
def test_a_request_that_ended_in_any_way_is_under_way_no_more(
    limited: LimitedSite, error: Exception | None
) -> None:
    async def answer(request: Request) -> Answer:
        if error:
            raise error
        return await limited.site.flow.default_answer(request)

    limited.site.flow.answer = answer

    assert 429 not in [limited.site.chat(BEARER).status for _ in range(3)]
    assert limited.used() == [0]


@pytest.mark.parametrize("holder", [key(Grant(paths=("/v1/chat/*",)))], indirect=True)
def test_a_key_uses_the_paths_that_it_was_given(limited: LimitedSite) -> None:
    assert limited.site.chat(BEARER).status == 200

    refused = limited.site.ask("POST", "/v1/files", b"{}", BEARER)

    assert (refused.status, refused.error["code"]) == (403, "path_not_allowed")
    assert "/v1/chat/*" in refused.error["message"]
    assert limited.site.teacher.calls == []


@pytest.mark.parametrize(
    ("method", "path", "reason"),
    [
        ("GET", "/v2/x", "unknown url"),
        ("PUT", "/v1/chat/completions", "method not supported"),
        ("POST", "/v1/chat/completions", "invalid api key"),
    ],
)
def test_every_error_carries_the_labels(method: str, path: str, reason: str) -> None:
    with serve_site(Authenticator("keys")) as site:
        got = site.ask(method, path, b"{}")

    assert got.header("x-stepdown-decision") == "refused"
    assert got.header("x-stepdown-reason") == reason
    assert got.header("x-stepdown-request-id")


def test_without_labels_an_error_has_only_its_id() -> None:
    with serve_site(Authenticator("keys"), show_labels=False) as site:
        got = site.chat()

    assert [name for name, _ in got.headers if name.startswith("x-stepdown")] == ["x-stepdown-request-id"]
