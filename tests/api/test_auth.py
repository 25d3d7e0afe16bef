"""Who is admitted, who is trusted, and what a stranger is told."""

from __future__ import annotations

import pytest

from gateway.api.auth import MAX_TRUSTED, TRUST_S, Authenticator
from gateway.core import Answer, Header, Request
from gateway.errors import RequestError
from gateway.store.keys import KeyFacts, hash_key
from gateway.upstream.base import Call, Reply
from tests.api.site_server import CHAT, House, chat_head, open_house

KEYS = {
    hash_key(b"sd-good"): KeyFacts(id="key-1", name="app", is_trusted=False, created_at=0.0),
    hash_key(b"sd-inside"): KeyFacts(id="key-2", name="ops", is_trusted=True, created_at=0.0),
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
def test_without_one_credential_nobody_enters(mode: str, headers: tuple[Header, ...]) -> None:
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
    """A local answer (any answer to a trusted caller) does not prolong it."""
    clock = Clock()
    authenticator = Authenticator("forward", clock=clock)
    authenticator.observe_status(authenticator.authenticate(bearer(b"sk-1")), 200)
    clock.now = TRUST_S - 1
    authenticator.observe_status(authenticator.authenticate(bearer(b"sk-1")), 200)
    clock.now = TRUST_S + 1

    assert not authenticator.authenticate(bearer(b"sk-1")).is_trusted


def test_a_credential_which_the_teacher_refuses_loses_its_trust() -> None:
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


def test_open_admits_anybody() -> None:
    caller = Authenticator("open").authenticate(())

    assert (caller.is_trusted, caller.sees_scores) == (True, True)


def test_a_stranger_is_refused_before_its_body_is_read() -> None:
    """401 comes although not one byte of the announced body was sent."""
    with open_house(Authenticator("keys", KEYS.get)) as house:
        plug = house.raw(chat_head(500, b"authorization: Bearer sd-wrong\r\nexpect: 100-continue\r\n"))
        answer = plug.recv(65536)
        plug.close()

    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"www-authenticate: Bearer" in answer
    assert b"sd-wrong" not in answer


@pytest.mark.parametrize(("key", "shown"), [("sd-good", None), ("sd-inside", "0.9")])
def test_scores_are_for_trusted_keys_only(key: str, shown: str | None) -> None:
    with open_house(Authenticator("keys", KEYS.get)) as house:

        async def answer(_: Request) -> Answer:
            return house.flow.with_body(b"{}", labels=(SCORE,))

        house.flow.answer = answer
        got = house.chat({"Authorization": f"Bearer {key}"})

    assert got.header("x-stepdown-score") == shown


def test_only_a_chat_answered_by_the_teacher_earns_trust() -> None:
    """Some teachers answer other paths to anybody: those prove nothing, but their 401 does."""
    with open_house(Authenticator("forward")) as house:
        key = {"Authorization": "Bearer sk-1"}
        house.ask("GET", "/v1/files", headers=key)
        house.chat(key)
        house.chat(key)
        _refuse_everything(house)
        house.ask("GET", "/v1/files", headers=key)
        house.chat(key)

        assert [request.is_trusted for request in house.flow.requests] == [False, True, False]
        assert house.ask("POST", CHAT, b"{}").status == 401


def _refuse_everything(house: House) -> None:
    async def reply(_: Call) -> Reply:
        return house.teacher.with_body(b"no", status=401)

    house.teacher.reply = reply
