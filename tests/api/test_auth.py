"""A caller is admitted and trusted by its headers alone, and a stranger learns nothing."""

from __future__ import annotations

import pytest

from gateway.api.auth import MAX_TRUSTED, TRUST_S, Authenticator
from gateway.core import Answer, Header, Request
from gateway.errors import RequestError
from gateway.store.keys import KeyFacts, hash_key
from gateway.upstream.base import Call, Reply
from tests.api.site_server import CHAT, SiteServer, chat_head, serve_site

KEYS = {
    hash_key(b"sd-good"): KeyFacts(
        id="key-1", name="app", tenant="shop", is_trusted=False, may_force_local=False, created_at=0.0
    ),
    hash_key(b"sd-inside"): KeyFacts(
        id="key-2", name="ops", tenant="ops", is_trusted=True, may_force_local=True, created_at=0.0
    ),
}
SCORE: Header = (b"x-stepdown-score", b"0.9")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def bearer(key: bytes) -> tuple[Header, ...]:
    return ((b"authorization", b"Bearer " + key),)


@pytest.mark.parametrize("headers", [bearer(b"sd-good"), ((b"authorization", b"bearer  sd-good "),)])
def test_a_gateway_key_names_its_holder(headers: tuple[Header, ...]) -> None:
    caller = Authenticator("keys", KEYS.get).authenticate(headers)

    assert (caller.id, caller.is_trusted, caller.sees_scores) == ("app", True, False)
    assert (caller.tenant, caller.may_force_local) == ("shop", False)


def test_every_forwarded_credential_is_a_tenant_of_its_own() -> None:
    """By its whole hash: the short id of a caller could be matched on purpose."""
    one, other = (Authenticator("forward").authenticate(bearer(key)) for key in (b"sk-1", b"sk-2"))

    assert one.tenant != other.tenant
    assert len(one.tenant) > 64
    assert (one.may_force_local, one.sees_scores) == (False, False)


@pytest.mark.parametrize("mode", ["keys", "forward"])
@pytest.mark.parametrize(
    "headers",
    [
        (),
        ((b"authorization", b""),),
        ((b"authorization", b"   "),),
        (*bearer(b"sd-good"), *bearer(b"sd-good")),
    ],
)
def test_without_exactly_one_credential_a_caller_is_refused(mode: str, headers: tuple[Header, ...]) -> None:
    authenticator = Authenticator("keys" if mode == "keys" else "forward", KEYS.get)

    with pytest.raises(RequestError) as refusal:
        authenticator.authenticate(headers)

    assert refusal.value.status == 401


@pytest.mark.parametrize(
    "value",
    [b"Bearer sd-wrong", b"Basic sd-good", b"sd-good", b"Bearer ", b"Bearer \xff\xfe", b"Bearer \xc3\xa9"],
)
def test_a_bad_key_is_refused_and_never_repeated(value: bytes) -> None:
    with pytest.raises(RequestError) as refusal:
        Authenticator("keys", KEYS.get).authenticate(((b"authorization", value),))

    assert (refusal.value.status, refusal.value.code) == (401, "invalid_api_key")
    assert "sd-" not in str(refusal.value).replace("stepdown", "")


def test_a_forwarded_credential_is_trusted_once_the_teacher_took_it() -> None:
    authenticator = Authenticator("forward")
    stranger = authenticator.authenticate(bearer(b"sk-1"))
    authenticator.observe_status(stranger, 200)

    known = authenticator.authenticate(bearer(b"sk-1"))

    assert (stranger.is_trusted, known.is_trusted) == (False, True)
    assert known.id == stranger.id
    assert not authenticator.authenticate(bearer(b"sk-2")).is_trusted


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500])
def test_a_failed_answer_proves_no_credential(status: int) -> None:
    authenticator = Authenticator("forward")
    authenticator.observe_status(authenticator.authenticate(bearer(b"sk-1")), status)

    assert not authenticator.authenticate(bearer(b"sk-1")).is_trusted


def test_trust_ends_after_an_hour_however_often_it_was_used() -> None:
    """A local answer, like any answer to a trusted caller, does not prolong it."""
    clock = Clock()
    authenticator = Authenticator("forward", clock=clock)
    authenticator.observe_status(authenticator.authenticate(bearer(b"sk-1")), 200)
    clock.now = TRUST_S - 1
    authenticator.observe_status(authenticator.authenticate(bearer(b"sk-1")), 200)
    clock.now = TRUST_S + 1

    assert not authenticator.authenticate(bearer(b"sk-1")).is_trusted


def test_a_credential_that_the_teacher_refuses_loses_its_trust() -> None:
    authenticator = Authenticator("forward")
    authenticator.observe_status(authenticator.authenticate(bearer(b"sk-1")), 200)
    authenticator.observe_status(authenticator.authenticate(bearer(b"sk-1")), 401)

    assert not authenticator.authenticate(bearer(b"sk-1")).is_trusted


def test_trust_is_kept_for_a_bounded_number_of_callers() -> None:
    authenticator = Authenticator("forward")
    for number in range(MAX_TRUSTED + 1):
        authenticator.observe_status(authenticator.authenticate(bearer(b"%d" % number)), 200)

    assert not authenticator.authenticate(bearer(b"0")).is_trusted
    assert authenticator.authenticate(bearer(b"1")).is_trusted


def test_open_admits_every_caller() -> None:
    caller = Authenticator("open").authenticate(())

    assert (caller.is_trusted, caller.sees_scores) == (True, True)


def test_a_stranger_is_refused_before_its_body_is_read() -> None:
    """401 comes although not one byte of the announced body was sent."""
    with serve_site(Authenticator("keys", KEYS.get)) as site:
        sock = site.open_socket(chat_head(500, b"authorization: Bearer sd-wrong\r\nexpect: 100-continue\r\n"))
        answer = sock.recv(65536)
        sock.close()

    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"www-authenticate: Bearer" in answer
    assert b"sd-wrong" not in answer


@pytest.mark.parametrize(("key", "shown"), [("sd-good", None), ("sd-inside", "0.9")])
def test_scores_are_for_trusted_keys_only(key: str, shown: str | None) -> None:
    with serve_site(Authenticator("keys", KEYS.get)) as site:

        async def answer(_: Request) -> Answer:
            return site.flow.with_body(b"{}", details=(SCORE,))

        site.flow.answer = answer
        response = site.chat({"Authorization": f"Bearer {key}"})

    assert response.header("x-stepdown-score") == shown


def test_only_a_chat_answered_by_the_teacher_earns_trust() -> None:
    """Some teachers answer other paths without a valid key: only their 401 proves something."""
    with serve_site(Authenticator("forward")) as site:
        key = {"Authorization": "Bearer sk-1"}
        site.ask("GET", "/v1/files", headers=key)
        site.chat(key)
        site.chat(key)
        _refuse_everything(site)
        site.ask("GET", "/v1/files", headers=key)
        site.chat(key)

        assert [request.is_trusted for request in site.flow.requests] == [False, True, False]
        assert site.ask("POST", CHAT, b"{}").status == 401


def _refuse_everything(site: SiteServer) -> None:
    async def reply(_: Call) -> Reply:
        return site.teacher.with_body(b"no", status=401)

    site.teacher.reply = reply
