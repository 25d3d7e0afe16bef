"""The explanation of a request says what decided it, and how an answer is compared with the teacher's."""

from __future__ import annotations

from typing import Any

from gateway.policy.explanation import explain_decision
from gateway.policy.explanation_text import render_explanation
from gateway.store.decision_record import CertificateFacts, DecisionRecord
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
    assert "it passes; nearest learnt text 0.810" in encoded
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
