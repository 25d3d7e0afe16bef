"""The explanation of a request says what decided it, and how an answer is compared with the teacher's."""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.core import Refusal
from gateway.policy.explanation import explain_decision
from gateway.policy.explanation_text import render_explanation
from gateway.policy.schema import Policy
from gateway.store.decision_record import CertificateFacts, DecisionRecord, refusal_record
from gateway.store.ledger_row import LedgerRow

GRADED = CertificateFacts(
    "live", 0.05, 0.1, 30.0, 0.6, None, 1.0, 2.0, 3.0, 251, 240, 1.5, None, "", "set_f1"
)


def record(decision: str = "local", **changes: Any) -> DecisionRecord:
    row = LedgerRow(
        1.0, f"{7:032x}", "t", "k", "p", "task", decision, "/v1/chat/completions", "m", "m", "",
        9, 2, 0, 0, "", 0.25, 0.5, 0.0, 0.0, "reported", "listed",
    )  # fmt: skip
    facts: dict[str, Any] = {
        "row": row, "status": 200, "reason": "certified", "match": "fingerprint", "form": "single/short",
        "alpha": 0.05, "delta": 0.1, "days": 30.0, "stratum": "new", "version": 3, "score": 0.7,
        "threshold": 0.6, "would_serve": True,
    }  # fmt: skip
    return DecisionRecord(**facts | changes)


def lines(one: DecisionRecord) -> list[str]:
    return render_explanation(explain_decision([one], ()))


def test_a_graded_agreement_is_named_in_policy_and_certificate() -> None:
    printed = " ".join(" ".join(lines(record(agreement="set_f1", certificate=GRADED))).split())

    assert "p: at most 5.0% may differ by set_f1, 90% sure" in printed
    assert "version 3 for new texts: 5.0% by set_f1 at 90%" in printed


def test_the_exact_agreement_needs_no_words() -> None:
    assert " by " not in " ".join(each for each in lines(record()) if "sure" in each)


def test_a_task_is_called_by_its_name() -> None:
    explanation = explain_decision([record()], (), {"task": "sort-tickets"}.__getitem__)

    assert explanation.task_name == "sort-tickets"
    assert any("sort-tickets (task), recognized" in each for each in render_explanation(explanation))


def test_an_audit_is_shown_against_the_threshold_that_its_draft_was_compared_with() -> None:
    printed = lines(record("audit", reason="audit", threshold=None, certificate=GRADED, propensity=0.2))

    assert "draft        score 0.700 against threshold 0.600: it passes" in printed


def test_a_draft_says_which_stage_made_it() -> None:
    printed = " ".join(" ".join(lines(record(is_first_stage=True))).split())
    encoded = " ".join(" ".join(lines(record(familiarity=0.81))).split())

    assert "it passes; by the first stage, from words alone" in printed
    assert "it passes; familiarity 0.810" in encoded
    assert "first stage" not in encoded


def other_way(decision: str, reason: str, **changes: Any) -> str:
    one = record(decision, reason=reason, propensity=0.2, is_held_out=True, **changes)
    return explain_decision([one], ()).other_way


def test_an_audit_of_a_frozen_task_would_not_have_been_served_without_its_draw() -> None:
    assert "Without it the draft would have been served." in other_way("audit", "audit")
    frozen = other_way("audit", "frozen")
    assert "would have been served" not in frozen
    assert "a task that is not frozen" in frozen


def test_a_forced_local_answer_that_none_may_give_needs_no_other_path() -> None:
    assert "x-stepdown-mode: local" in other_way("refused", "no specialist", status=404)
    assert "GET /v1/models" in other_way("refused", "model not found", status=404)


def test_a_refusal_of_a_specialist_says_what_the_specialist_lacked() -> None:
    """A specialist that was asked for by name is there, and may not answer: no other path would help."""
    named = other_way("refused", "model not found: unfamiliar text", status=404)
    forced = other_way("refused", "no specialist: unfamiliar text", status=404)

    assert named.endswith("needed a text nearer to what the specialist has learnt.")
    assert forced.endswith("has learnt, or no header `x-stepdown-mode: local`.")


def test_a_refusal_shows_the_model_and_how_the_rules_took_it() -> None:
    refusal = Refusal(
        request_id=f"{7:032x}", status=403, reason="forbidden by policy", key="k", policy="secret",
        method="POST", path="/v1/chat/completions", model="secret-1",
    )  # fmt: skip
    policies = (
        Policy(name="other", models=("gpt-*",)),
        Policy(name="secret", models=("secret-*",), forbid=True),
    )

    printed = render_explanation(explain_decision([refusal_record(refusal, 1.0)], policies))

    assert "             POST /v1/chat/completions for secret-1 by key 'k'" in printed
    assert "             not 'other': models did not match" in printed
    assert "             'secret' matched: models secret-* (files as of now)" in printed


def test_a_high_score_that_does_not_pass_says_why() -> None:
    """The threshold is not all: a reader must not see 0.9 against 0.6 'does not pass' without a word."""
    unfamiliar = words(record("escalated", reason="unfamiliar text", score=0.9, would_serve=False))
    shadowed = words(record("escalated", reason="shadow asked for", score=0.9, would_serve=False))
    low = words(record("escalated", reason="unsure", score=0.5, would_serve=False))

    assert "high enough, but it does not pass (unfamiliar text)" in unfamiliar
    assert "high enough, but the certificate does not cover such a text or form" in shadowed
    assert "and a draft that passes: its text or its form is not one" in shadowed
    assert "score 0.500 against threshold 0.600: it does not pass" in low


def test_an_encoder_is_no_specialist_with_a_certificate() -> None:
    row = msgspec.structs.replace(record().row, task="", endpoint="/v1/embeddings")
    printed = words(record(row=row, reason="encoder", score=None, threshold=None, version=0))

    assert "p: its `embed` answers" in printed
    assert "may differ" not in printed
    assert "audit" not in printed


def test_a_websocket_says_where_its_responses_are() -> None:
    said = other_way("bypass", "websocket", status=101)

    assert "no specialist answers in one" in said
    assert said.endswith(f"requests of their own: {7:032x}-1 and so on.")


def words(one: DecisionRecord) -> str:
    return " ".join(" ".join(lines(one)).split())
