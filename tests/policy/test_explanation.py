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
