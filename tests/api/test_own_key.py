"""With the gateway's own key it is the only door to the teacher's account: each path passes the policies."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import product

import pytest

from gateway.api.auth import Authenticator
from gateway.policy.schema import Policy
from gateway.wire.endpoints import ENDPOINTS
from tests.api.site_server import CHAT, SiteServer, ask_on, chat_body, serve_site

# Answered by the flow, a scripted one here: tests/cascade shows that it asks the planner first.
SERVED = {CHAT, "/v1/responses", "/v1/embeddings"}
FORM = {"content-type": "multipart/form-data; boundary=X"}


def part(name: str, value: str, file: str = "") -> str:
    more = f'; filename="{file}"' if file else ""
    return f'--X\r\ncontent-disposition: form-data; name="{name}"{more}\r\n\r\n{value}\r\n'


def form(*parts: str) -> bytes:
    return "".join([*parts, "--X--\r\n"]).encode()


@pytest.fixture(scope="module")
def _forbidding() -> Iterator[SiteServer]:
    with serve_site(policies=[Policy(name="nothing", forbid=True)], has_own_key=True) as running:
        yield running


@pytest.fixture
def forbidding(_forbidding: SiteServer) -> SiteServer:
    _forbidding.reset()
    return _forbidding


POLICIES = [
    Policy(name="no-giant", models=("o3*",), forbid=True),
    Policy(name="nightly", paths=("/v1/batches", "/v1/brand-new/*", "/v1/images/edits"), methods=("post",)),
    Policy(name="all", paths=("/v1/*",)),
]


@pytest.fixture(scope="module")
def _ruled() -> Iterator[SiteServer]:
    with serve_site(policies=POLICIES, has_own_key=True) as running:
        yield running


@pytest.fixture
def ruled(_ruled: SiteServer) -> SiteServer:
    _ruled.reset()
    return _ruled


def spellings(path: str) -> list[str]:
    """Return twelve ways to spell `path`, the plain one first."""
    first, rest = path[1:].split("/", 1)
    return [
        path,
        f"{path}/",
        f"//{path[1:]}",
        f"/{first}//{rest}",
        f"/{first}/./{rest}",
        f"/{first}/x/../{rest}",
        f"/{first}/x/%2e%2e/{rest}",
        f"/{first}/x/%252e%252e/{rest}",
        f"/{first}/x/..;/{rest}",
        f"{path};x=1",
        f"/V1/{rest}",
        f"/{first}/%{ord(rest[0]):02x}{rest[1:]}",
    ]


def test_nothing_forbidden_reaches_the_teacher_on_any_path_in_any_spelling(forbidding: SiteServer) -> None:
    """Each endpoint of the table, each of its methods, twelve spellings."""
    body = json.dumps(
        {"model": "gpt-4o", "input": "x", "messages": [{"role": "user", "content": "x"}]}
    ).encode()
    refused = 0
    with closing(forbidding.connect()) as connection:
        for endpoint in ENDPOINTS:
            path = endpoint.path.replace("{", "").replace("*}", "").replace("}", "")
            for method, spelling in product(endpoint.methods, spellings(path)):
                if method == "POST" and spelling in SERVED:
                    continue
                answer = ask_on(connection, method, spelling, body if method == "POST" else None)
                assert answer.status in (400, 403), (method, spelling, answer.status)
                refused += 1

    assert refused > 2000
    assert forbidding.teacher.calls == []


@pytest.mark.parametrize("path", spellings("/v1/files/file-1")[1:])
def test_another_spelling_is_refused_and_told_the_right_one(ruled: SiteServer, path: str) -> None:
    answer = ruled.ask("GET", path)

    assert (answer.status, answer.error["code"]) == (400, "path_not_canonical")
    assert "/v1/files/file-1" in answer.error["message"]
    assert ruled.teacher.calls == []


@pytest.mark.parametrize("method", ["TRACE", "CONNECT"])
def test_a_method_that_could_echo_our_credential_is_refused(ruled: SiteServer, method: str) -> None:
    assert ruled.ask(method, "/v1/files").status == 405
    assert ruled.teacher.calls == []


@pytest.mark.parametrize(
    ("path", "body", "headers"),
    [
        ("/v1/completions", b'{"model":"o3","prompt":"x"}', {}),
        ("/v1/completions", b'{"prompt":"x","mod\\u0065l":"o3"}', {}),
        ("/v1/audio/transcriptions", form(part("model", "o3-audio"), part("file", "x", "a.wav")), FORM),
        ("/v1/images/generations", b'{"model":"o3-image"}', {"content-type": "application/json"}),
    ],
)
def test_a_forbidden_model_is_forbidden_where_it_stands(
    ruled: SiteServer, path: str, body: bytes, headers: dict[str, str]
) -> None:
    answer = ruled.ask("POST", path, body, headers)

    assert (answer.status, answer.error["code"]) == (403, "forbidden_by_policy")
    assert ruled.teacher.calls == []


def test_a_model_that_changes_behind_the_file_ends_the_upload(ruled: SiteServer) -> None:
    """The teacher never has a whole form that was judged by another model than its last."""
    body = form(part("model", "whisper-1"), part("file", "x" * 300_000, "a.wav"), part("model", "o3"))

    answer = ruled.ask("POST", "/v1/audio/transcriptions", body, FORM)

    assert (answer.status, answer.error["code"]) == (400, "model_not_readable")
    assert ruled.teacher.bodies == []


@pytest.mark.parametrize(
    ("method", "path", "why"),
    [
        ("GET", "/v1/organization/admin_api_keys", "account"),
        ("POST", "/v1/realtime/client_secrets", "account"),
        ("DELETE", "/v1/models/gpt-4o", "account"),
        ("POST", "/v1/threads/t/runs", "model cannot be read"),
        ("POST", "/v1/evals/e/runs", "model cannot be read"),
        ("GET", "/v1/unheard-of", "not an endpoint"),
        ("PUT", "/v1/files", "not an endpoint"),
        ("GET", "/v1/batches/b/unheard-of", "not an endpoint"),
    ],
)
def test_what_no_rule_could_hold_is_closed(ruled: SiteServer, method: str, path: str, why: str) -> None:
    answer = ruled.ask(method, path, b"{}" if method == "POST" else None)

    assert (answer.status, answer.error["code"]) == (403, "path_not_open")
    assert why in answer.error["message"]
    assert ruled.teacher.calls == []


def test_a_form_without_a_model_before_its_file_is_closed(ruled: SiteServer) -> None:
    answer = ruled.ask("POST", "/v1/audio/transcriptions", form(part("file", "x", "a.wav")), FORM)

    assert (answer.status, answer.error["code"]) == (403, "path_not_open")


@pytest.mark.parametrize("path", ["/v1/batches", "/v1/brand-new/thing"])
def test_a_policy_that_names_a_path_opens_it(ruled: SiteServer, path: str) -> None:
    assert ruled.ask("POST", path, b"{}").body == b"from the teacher"


def test_it_opens_it_for_its_methods_only(ruled: SiteServer) -> None:
    assert ruled.ask("DELETE", "/v1/brand-new/thing").status == 403


def test_a_policy_for_all_of_v1_opens_nothing(ruled: SiteServer) -> None:
    """`all` matches /v1/* and yet names no path."""
    assert ruled.ask("GET", "/v1/organization/users").status == 403


@pytest.mark.parametrize(
    ("path", "body", "headers"),
    [
        ("/v1/moderations", b'{"input":"x"}', {}),
        ("/v1/images/generations", b'{"prompt":"x"}', {}),
        ("/v1/audio/speech", b'{"model":"tts-1","input":"x","voice":"alloy"}', {}),
        ("/v1/audio/transcriptions", form(part("model", "whisper-1"), part("file", "x", "a.wav")), FORM),
        ("/v1/files", form(part("purpose", "batch"), part("file", "x", "a.jsonl")), FORM),
    ],
)
def test_what_is_allowed_arrives_byte_for_byte(
    ruled: SiteServer, path: str, body: bytes, headers: dict[str, str]
) -> None:
    answer = ruled.ask("POST", path, body, headers)

    assert (answer.status, answer.body) == (200, b"from the teacher")
    assert ruled.teacher.bodies == [body]


def test_each_of_them_leaves_an_outcome(ruled: SiteServer) -> None:
    ruled.ask("POST", "/v1/audio/speech", b'{"model":"tts-1","input":"x","voice":"alloy"}')
    ruled.ask("GET", "/v1/files/file-1")

    found = [(one.request.model, one.request.resource.path, one.decision) for one in ruled.outcomes]
    assert found == [("tts-1", "/v1/audio/speech", "bypass"), ("", "/v1/files/file-1", "bypass")]


def test_two_models_in_a_query_are_refused(ruled: SiteServer) -> None:
    assert ruled.ask("GET", "/v1/realtime?model=a&model=o3").status == 400


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/unheard-of", "/v1/organization/users"])
def test_forward_mode_decides_nothing_of_this(path: str) -> None:
    """The client's own credential goes along: what it may do is between it and the teacher."""
    with serve_site(Authenticator("forward")) as site:
        answer = site.ask("GET", path, headers={"authorization": "Bearer k"})

        assert answer.body == b"from the teacher"


def test_forward_mode_forbids_too() -> None:
    policy = [Policy(name="no-giant", models=("o3*",), forbid=True), Policy(name="all")]
    with serve_site(Authenticator("forward"), policies=policy) as site:
        key = {"authorization": "Bearer k"}
        assert site.ask("POST", "/v1/completions/", b'{"model":"o3"}', key).status == 403
        assert site.ask("POST", "/v1/completions", b"not JSON", key).body == b"from the teacher"


def test_the_chat_path_is_the_flows_in_any_spelling_of_forward_mode() -> None:
    with serve_site(Authenticator("forward")) as site:
        answer = site.ask("POST", f"{CHAT}/", chat_body(), {"authorization": "Bearer k"})

        assert answer.json == {"echo": "hello"}
        assert site.flow.requests[0].target == f"{CHAT}/".encode()


@pytest.mark.parametrize("pack", [gzip.compress, lambda body: gzip.compress(b"") + gzip.compress(body)])
def test_an_encoding_hides_no_model(ruled: SiteServer, pack: Callable[[bytes], bytes]) -> None:
    headers = {"content-encoding": "gzip"}
    # Packed once: gzip writes the time.
    allowed = pack(b'{"model":"gpt-4o","prompt":"x"}')

    refused = ruled.ask("POST", "/v1/completions", pack(b'{"model":"o3-pro","prompt":"x"}'), headers)
    passed = ruled.ask("POST", "/v1/completions", allowed, headers)

    assert (refused.status, passed.status) == (403, 200)
    assert ruled.teacher.bodies == [allowed]


@pytest.mark.parametrize(
    ("coding", "body", "status"),
    [("zpaq", b'{"model":"gpt-4o"}', 415), ("gzip", b'{"model":"gpt-4o"}', 400)],
    ids=["unknown", "damaged"],
)
@pytest.mark.parametrize("path", ["/v1/completions", "/v1/brand-new/x"])
def test_what_cannot_be_decoded_does_not_pass(
    ruled: SiteServer, path: str, coding: str, body: bytes, status: int
) -> None:
    assert ruled.ask("POST", path, body, {"content-encoding": coding}).status == status
    assert ruled.teacher.calls == []


def test_a_form_in_front_of_which_another_hides_in_an_encoding_does_not_pass(ruled: SiteServer) -> None:
    body = gzip.compress(form(part("model", "o3-pro"))) + b"\r\n" + form(part("model", "gpt-image-1"))

    answer = ruled.ask("POST", "/v1/images/edits", body, {**FORM, "content-encoding": "gzip"})

    assert (answer.status, answer.error["code"]) == (415, "unsupported_content_encoding")
    assert ruled.teacher.calls == []
