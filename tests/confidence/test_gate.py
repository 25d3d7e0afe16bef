from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from gateway.confidence.gate import Gate
from gateway.core import Certification, Draft, Plan, Request, Route, Verdict
from tests.confidence.conftest import TARGET
from tests.support.builders import certificate, certified

Ask = Callable[..., Request]


def drafted(text: str = "card_arrival", score: float = 0.9, version: int = 3) -> Draft:
    return Draft(text=text, score=score, task="intents", version=version)


LEARNT = msgspec.structs.replace(drafted(score=1.0), is_learnt=True)
PLAN = Plan(policy="p", may_serve=True, alpha=0.05)


def judge(draft: Draft, certification: Certification, asked: Request, route: Route | None = None) -> Verdict:
    return Gate().judge_draft(draft, certification, asked, PLAN, route or Route("intents"))


@pytest.mark.parametrize(("score", "accepts"), [(0.61, True), (0.6, True), (0.59, False)])
def test_the_threshold_decides(live: Certification, ask: Ask, score: float, accepts: bool) -> None:
    verdict = judge(drafted(score=score), live, ask())
    assert (verdict.accepts, verdict.threshold) == (accepts, 0.6)


@pytest.mark.parametrize(
    "changes",
    [{"stage": "shadow"}, {"stage": "alarm"}, {"threshold": None}, {"version": None}, {"expires_at": 9.0}],
)
def test_nothing_is_served_without_a_certificate_in_force(ask: Ask, changes: dict[str, Any]) -> None:
    facts = {"version": 3, "threshold": 0.6} | changes
    assert not judge(drafted(score=1.0), certified("intents", **facts), ask()).accepts


@pytest.mark.parametrize(
    ("draft", "route", "because"),
    [
        (drafted(score=1.0), Route("intents", "embedding"), "variant texts not certified"),
        (
            msgspec.structs.replace(drafted(score=1.0), is_learnt=True),
            Route("intents"),
            "learnt texts not certified",
        ),
        (drafted(score=1.0), Route("intents"), "certified"),
    ],
)
def test_a_stratum_never_vouches_for_another(
    live: Certification, ask: Ask, draft: Draft, route: Route, because: str
) -> None:
    new_only = msgspec.structs.replace(live, certificates=live.certificates[:1])

    assert judge(draft, new_only, ask(), route).because == because


def test_a_verdict_says_that_it_stands_on_imported_rows(ask: Ask) -> None:
    trusting = msgspec.structs.replace(PLAN, evidence="imported")
    on_imported = certified("intents", 3, target=trusting.target)

    verdict = Gate().judge_draft(drafted(score=1.0), on_imported, ask(), trusting, Route("intents"))

    assert (verdict.accepts, verdict.because) == (True, "certified on imported rows")


def test_a_form_that_the_evidence_does_not_cover_goes_to_the_teacher(ask: Ask) -> None:
    short = certified("intents", 3, forms=("single/short",))

    verdict = judge(drafted(score=1.0), short, ask(text="where is it? " * 100))

    assert (verdict.accepts, verdict.because) == (False, "form not certified")


@pytest.mark.parametrize(("similarity", "accepts"), [(0.31, True), (0.29, False)])
def test_a_text_below_the_novelty_floor_goes_to_the_teacher(
    ask: Ask, similarity: float, accepts: bool
) -> None:
    familiar = certified("intents", 3, novelty_floor=0.3)
    draft = msgspec.structs.replace(drafted(score=1.0), evidence={"similarity": similarity})

    assert judge(draft, familiar, ask()).accepts == accepts


def test_the_loosest_certificate_that_the_policy_allows_decides(ask: Ask) -> None:
    """Two policies of one task, at 2 % and 5 %, are both served from the same audits."""
    strict, lax = certificate(threshold=0.9), certificate(target=TARGET, threshold=0.6)
    both = Certification(task="intents", version=3, certificates=(strict, lax))
    gate, route = Gate(), Route("intents")
    draft = drafted(score=0.7)

    at_5 = gate.judge_draft(draft, both, ask(), PLAN, route)
    at_2 = gate.judge_draft(draft, both, ask(), msgspec.structs.replace(PLAN, alpha=0.02), route)

    assert (at_5.accepts, at_2.accepts) == (True, False)


def test_a_draft_of_another_version_has_no_certificate(live: Certification, ask: Ask) -> None:
    verdict = judge(drafted(score=1.0, version=4), live, ask())
    assert (verdict.accepts, verdict.because) == (False, "draft of another version")


@pytest.mark.parametrize(
    ("text", "fields", "because"),
    [
        (" \n", {}, "empty draft"),
        ("plain", {"wants_json": True}, "draft is not JSON"),
        ("[1]", {"wants_json": True}, "draft is not JSON"),
        ("[" * 50_000, {"wants_json": True}, "draft is not JSON"),
        ("one END two", {"stop": ("END",)}, "stop string in draft"),
        ("word " * 40, {"max_tokens": 20}, "draft longer than max_tokens"),
        ("\u4e2d" * 10, {"max_tokens": 9}, "draft longer than max_tokens"),
    ],
)
def test_an_invalid_draft_is_deferred_however_sure(
    live: Certification, ask: Ask, text: str, fields: dict[str, object], because: str
) -> None:
    for mode in ("auto", "local"):
        verdict = judge(drafted(text, score=1.0), live, ask(mode=mode, **fields))
        assert (verdict.accepts, verdict.because) == (False, because)


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ('{"intent": "x"}', {"wants_json": True}),
        ("card_arrival", {"max_tokens": 16}),
        ("card_arrival", {"stop": ("", "\n\n")}),
    ],
)
def test_a_valid_draft_is_served(live: Certification, ask: Ask, text: str, fields: dict[str, object]) -> None:
    assert judge(drafted(text), live, ask(**fields)).accepts


def test_a_client_that_may_force_a_local_answer_gets_any_valid_draft(ask: Ask) -> None:
    shadow = Certification(task="intents", version=3)
    assert judge(drafted(score=0.0), shadow, ask(mode="local")).accepts


def test_any_other_client_that_asks_for_a_local_answer_gets_what_is_certified(
    live: Certification, ask: Ask
) -> None:
    asked = ask(mode="local", may_force_local=False)

    assert judge(drafted(score=0.9), live, asked).accepts
    assert not judge(drafted(score=0.1), live, asked).accepts
