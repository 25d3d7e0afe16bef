from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from gateway.confidence.gate import Gate
from gateway.core import Draft, Request, Standing

Ask = Callable[..., Request]


def drafted(text: str = "card_arrival", score: float = 0.9, version: int = 3) -> Draft:
    return Draft(text=text, score=score, task="intents", version=version)


@pytest.mark.parametrize(("score", "accepts"), [(0.61, True), (0.6, True), (0.59, False)])
def test_the_threshold_decides(live: Standing, ask: Ask, score: float, accepts: bool) -> None:
    verdict = Gate().judge_draft(drafted(score=score), live, ask())
    assert (verdict.accepts, verdict.threshold) == (accepts, 0.6)


@pytest.mark.parametrize(
    "changes",
    [{"stage": "shadow"}, {"stage": "alarm"}, {"threshold": None}, {"version": None}],
)
def test_nothing_is_served_without_a_certificate_in_force(
    live: Standing, ask: Ask, changes: dict[str, object]
) -> None:
    verdict = Gate().judge_draft(drafted(score=1.0), msgspec.structs.replace(live, **changes), ask())
    assert not verdict.accepts


def test_a_draft_of_another_version_has_no_certificate(live: Standing, ask: Ask) -> None:
    verdict = Gate().judge_draft(drafted(score=1.0, version=4), live, ask())
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
    live: Standing, ask: Ask, text: str, fields: dict[str, object], because: str
) -> None:
    for mode in ("auto", "local"):
        verdict = Gate().judge_draft(drafted(text, score=1.0), live, ask(mode=mode, **fields))
        assert (verdict.accepts, verdict.because) == (False, because)


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ('{"intent": "x"}', {"wants_json": True}),
        ("card_arrival", {"max_tokens": 16}),
        ("card_arrival", {"stop": ("", "\n\n")}),
    ],
)
def test_a_valid_draft_is_served(live: Standing, ask: Ask, text: str, fields: dict[str, object]) -> None:
    assert Gate().judge_draft(drafted(text), live, ask(**fields)).accepts


def test_a_client_that_asked_for_a_local_answer_gets_any_valid_draft(ask: Ask) -> None:
    shadow = Standing(task="intents", lane="fingerprint", version=3)
    assert Gate().judge_draft(drafted(score=0.0), shadow, ask(mode="local")).accepts
