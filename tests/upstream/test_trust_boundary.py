"""With its own key the gateway keeps both sides' affairs apart."""

from __future__ import annotations

import pytest

from gateway.core import Header, Secret
from gateway.upstream.base import Call, Config, Teacher, Transport
from gateway.upstream.headers import HeaderFilter
from gateway.upstream.providers.openai import create
from gateway.upstream.trust_boundary import LOCATIONS, TEACHER_NAMES, keep_for_client, rewrite_location
from tests.upstream.conftest import RawTeacher

OF_THE_CLIENT = (
    *(b"cookie", b"x-csrf-token", b"authorization", b"api-key", b"x-api-key", b"x-goog-api-key"),
    *(b"ocp-apim-subscription-key", b"x-portkey-virtual-key", b"openai-organization", b"openai-project"),
    *(b"forwarded", b"via", b"x-forwarded-for", b"x-forwarded-client-cert", b"x-real-ip", b"true-client-ip"),
    *(b"cf-connecting-ip", b"x-envoy-external-address", b"x-auth-request-email", b"x-remote-user"),
    *(
        b"x-amzn-oidc-data",
        b"x-goog-iap-jwt-assertion",
        b"x-ms-client-principal",
        b"x-ms-client-principal-id",
    ),
    *(b"x-ms-token-aad-access-token", b"cf-access-jwt-assertion", b"tailscale-user-login"),
    *(b"x-http-method-override", b"x-http-method", b"x-method-override", b"x-original-url", b"x-rewrite-url"),
    *(b"proxy-authorization", b"x-stepdown-mode", b"x-accel-redirect"),
    *(b"x_http_method_override", b"x_forwarded_for", b"openai_organization", b"x-forwarded_for"),
)
OF_THE_TEACHER = (
    *("set-cookie: a=b", "openai-organization: acme", "openai-project: proj_1", "alt-svc: h3=':443'"),
    *("x-ratelimit-limit-requests: 10", "x-ratelimit-remaining-tokens: 9", "ratelimit-remaining: 1"),
    *("x-stepdown-served-by: teacher", "x-stepdown-request-id: 1", "strict-transport-security: max-age=9"),
    *("x-litellm-key-spend: 12.5", "x-envoy-upstream-service-time: 3"),
)
USEFUL = ("x-request-id: req_1", "openai-version: 2020-10-01", "openai-processing-ms: 12", "retry-after: 3")


def of(raw: RawTeacher, client: Transport, *, own_key: bool) -> Teacher:
    return create(Config(base_url=raw.origin, api_key=Secret("sk-own") if own_key else None), client)


def get(*headers: Header) -> Call:
    return Call(method="GET", target=b"/v1/models", headers=headers)


async def test_what_a_client_says_of_itself_and_its_other_accounts_stays_here(
    client: Transport, raw: RawTeacher
) -> None:
    call = get(*((name, b"secret") for name in OF_THE_CLIENT), (b"openai-beta", b"kept"), (b"x-app", b"kept"))

    reply = await of(raw, client, own_key=True).ask(call)
    await reply.body.aclose()

    assert b"secret" not in raw.asked[0]
    assert raw.asked[0].count(b"kept") == 2


async def test_in_forward_mode_it_all_passes(client: Transport, raw: RawTeacher) -> None:
    own = {b"x-stepdown-mode", b"proxy-authorization"}
    sent = [name for name in OF_THE_CLIENT if name not in own]

    reply = await of(raw, client, own_key=False).ask(get(*((name, b"secret") for name in sent)))
    await reply.body.aclose()

    assert raw.asked[0].count(b"secret") == len(sent)


@pytest.mark.parametrize("own_key", [True, False])
async def test_what_a_teacher_says_of_our_account_reaches_nobody_elses_client(
    client: Transport, raw: RawTeacher, own_key: bool
) -> None:
    lines = "\r\n".join((*OF_THE_TEACHER, *USEFUL))
    raw.script = [f"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n{lines}\r\n\r\n".encode()]

    reply = await of(raw, client, own_key=own_key).ask(get())
    await reply.body.aclose()

    named = [f"{name.decode()}: {value.decode()}" for name, value in reply.headers]
    seen = USEFUL if own_key else (*OF_THE_TEACHER, *USEFUL)
    assert named == ["content-length: 0", *seen]


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        (b"https://teacher.example/openai/v1/files/a?x=1#y", b"/v1/files/a?x=1#y"),
        (b"http://TEACHER.example:8443/openai/v1/files/a", b"/v1/files/a"),
        (b"/openai/v1/files/a", b"/v1/files/a"),
        (b"/openai/v1", b"/v1"),
        (b"/openai/v10/files", None),
        (b"/admin", None),
        (b"https://teacher.example/admin", None),
        (b"https://store.example.net/file?signature=s", b"https://store.example.net/file?signature=s"),
        (b"http://10.1.2.3:8000/openai/v1/files/a", None),
        (b"http://vllm-0:8000/openai/v1/files/a", None),
        (b"https://vllm.models.svc.cluster.local/openai/v1/a", None),
        (b"file:///etc/passwd", None),
        (b"http://[broken/", None),
    ],
)
def test_an_address_at_the_teachers_becomes_one_here_or_none(location: bytes, shown: bytes | None) -> None:
    assert rewrite_location(location, "teacher.example", b"/openai/v1") == shown


def test_a_redirect_of_the_teachers_leads_back_to_the_gateway() -> None:
    headers = ((b"location", b"https://teacher.example/v1/files/b"), (b"x-request-id", b"r"))

    kept = keep_for_client(307, headers, "teacher.example", b"/v1")

    assert set(kept) == {(b"location", b"/v1/files/b"), (b"x-request-id", b"r")}


def test_invented_header_names_do_not_fill_the_memory() -> None:
    stops = HeaderFilter(TEACHER_NAMES, (b"x-a-",))

    assert not any(stops[b"x-%d" % number] for number in range(10_000))
    assert stops[b"x-a-late"]
    assert len(stops) < 5_000
    assert LOCATIONS <= TEACHER_NAMES
