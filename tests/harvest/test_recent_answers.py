"""What a worker remembers of local answers: the newest, of those that may be kept, in bounded memory."""

from __future__ import annotations

import gc
import tracemalloc
from typing import Any

import msgspec
import pytest

from gateway.core import Draft, Grant, Plan, Route
from gateway.harvest.base import Row, hash_user
from gateway.harvest.gather import row_of
from gateway.harvest.recent_answers import RecentAnswers
from gateway.wire.chat.request import read_chat
from gateway.wire.responses.request import read_responses
from tests.support.builders import NOON, incoming, outcome, reading, request

PLENTY = 1 << 20
DRAFT = Draft(text="card_lost", score=0.9, task="cards", version=3)


def local(request_id: str = "req-1", asked: dict[str, Any] | None = None, **changes: Any) -> Any:
    facts = {"decision": "local", "draft": DRAFT} | changes
    return outcome(request(**{"id": request_id, "tenant": "shop"} | (asked or {})), **facts)


def remembered(*outcomes: Any, max_bytes: int = PLENTY) -> RecentAnswers:
    recent = RecentAnswers(max_bytes, user_key=b"key")
    for each in outcomes:
        recent(each, reading(text="card_lost"))
    return recent


def find(recent: RecentAnswers, request_id: str = "req-1") -> Row | None:
    return recent.find(request_id, "shop", "key-1")


def test_a_local_answer_is_a_row_that_is_neither_lesson_nor_evidence() -> None:
    body = b'{"model":"giant","messages":[{"role":"user","content":"where is my card?"}],"user":"ann"}'
    plan = Plan(policy="shops", may_serve=True, keep_days=2.0)

    row = find(remembered(local(asked={"body": body}, plan=plan)))

    assert row is not None
    assert (row.is_local, row.is_lesson, row.is_held_out, row.answer) == (True, False, False, "")
    assert (row.draft, row.draft_version, row.draft_score) == ("card_lost", 3, 0.9)
    assert (row.tenant, row.caller, row.user, row.policy) == (
        "shop",
        "key-1",
        hash_user("ann", b"key"),
        "shops",
    )
    assert (row.at, row.expires_at) == (NOON, NOON + 2 * 86_400)
    assert (row.text, row.prompt_tokens, row.completion_tokens) == ("where is my card?", 0, 0)


def test_of_a_streamed_draft_the_whole_answer_is_remembered() -> None:
    begun = msgspec.structs.replace(DRAFT, text="card_", stream=object())

    row = find(remembered(local(draft=begun)))

    assert row is not None
    assert (row.draft, row.draft_version, row.draft_score) == ("card_lost", 3, 0.9)


@pytest.mark.parametrize(
    "one",
    [
        local(asked={"may_harvest": False}),
        local(plan=Plan(policy="p", may_serve=True, may_harvest=False)),
        local(decision="escalated"),
        local(decision="audit"),
        local(draft=None),
        local(is_complete=False),
        local(is_held_out=True),
        local(route=None),
    ],
    ids=["client", "policy", "teacher", "audit", "encoder", "broken off", "evidence", "no task"],
)
def test_what_may_not_be_kept_and_what_no_specialist_answered_is_not_remembered(one: Any) -> None:
    recent = remembered(one)

    assert (find(recent), recent.size_bytes) == (None, 0)


def test_a_spent_budget_silences_no_complaint() -> None:
    """Its reserve keeps audits from being chosen; what is no evidence cannot bias any."""
    assert find(remembered(local(plan=Plan(policy="p", may_serve=True, is_reserve=True))))


def test_only_the_caller_that_asked_finds_its_answer() -> None:
    recent = remembered(local())

    assert recent.find("req-1", "elsewhere", "key-1") is None
    assert recent.find("req-1", "shop", "key-2") is None
    assert recent.find("req-2", "shop", "key-1") is None
    assert find(recent)


def test_the_oldest_go_when_the_memory_is_full() -> None:
    size = remembered(local("a")).size_bytes

    recent = remembered(*(local(name) for name in "abcde"), max_bytes=3 * size)

    assert [name for name in "abcde" if find(recent, name)] == ["c", "d", "e"]
    assert recent.size_bytes == 3 * size


def test_without_memory_nothing_is_remembered() -> None:
    assert find(remembered(local(), max_bytes=0)) is None


def test_what_is_forgotten_takes_no_room() -> None:
    recent = remembered(*(local(name, at=NOON + at) for at, name in enumerate("abc")))
    whole = recent.size_bytes

    recent.forget_before(NOON + 1)
    assert [name for name in "abc" if find(recent, name)] == ["c"]
    assert recent.size_bytes * 3 == whole

    recent.forget("c")
    recent.forget("c")
    assert (find(recent, "c"), recent.size_bytes) == (None, 0)


def test_an_id_that_comes_twice_counts_once() -> None:
    once, twice = remembered(local()), remembered(local(), local())

    assert once.size_bytes == twice.size_bytes


@pytest.mark.parametrize("surface", ["chat", "responses"])
def test_the_row_is_that_of_an_escalation_but_for_who_answered(surface: str) -> None:
    """It is made of the request's bytes, and of few facts beside them."""
    said = b'"messages":[{"role":"system","content":"Sort."},{"role":"user","content":"h\xc3\xa9"}]'
    fields = said if surface == "chat" else b'"instructions":"Sort.","input":"h\xc3\xa9"'
    body = b'{"model":"giant","user":"ann","metadata":{"a":"b"},' + fields + b"}"
    plan = Plan(
        policy="p", may_serve=True, scope="tenant:shop", keep_days=9.0, is_restricted=True,
        private_kinds=frozenset({"email", "iban"}),
    )  # fmt: skip
    came = incoming(
        id="req-1", tenant="shop", is_vouched_for=False, grant=Grant(keep_days=3.0),
        body=b"packed", decoded=body, headers=((b"authorization", b"Bearer secret"),),
    )  # fmt: skip
    asked = (read_chat if surface == "chat" else read_responses)(came)
    facts: dict[str, Any] = {
        "plan": plan, "route": Route("cards", "embedding", 0.9, place="p"), "draft": DRAFT,
        "audit_propensity": 0.3,
    }  # fmt: skip
    recent = remembered(outcome(asked, decision="local", **facts))
    escalated = row_of(outcome(asked, **facts), reading(usage=None), user_key=b"key")
    assert escalated is not None

    assert find(recent) == msgspec.structs.replace(escalated, answer="", ending="none", is_lesson=False)
    assert b"secret" not in repr(vars(recent)).encode()


def test_the_estimate_of_memory_is_about_right() -> None:
    recent, names = RecentAnswers(PLENTY), [f"{n:032x}" for n in range(500)]
    one = reading()
    tracemalloc.start()
    for name in names:
        recent(local(name), one)
    gc.collect()
    used = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()

    assert 0.7 < used / recent.size_bytes < 1.3
