from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from gateway.confidence.auditor import Auditor
from gateway.core import Certification, Draft, Outcome, Plan, Reading, Request, RiskTarget, Route, hash_text
from tests.confidence.conftest import TARGET, AuditList
from tests.support.builders import certificate, certified


@pytest.fixture
def outcome(ask: Callable[..., Request]) -> Outcome:
    """A request audited under a certificate; without the audit its draft would have been served."""
    return Outcome(
        request=ask(),
        plan=Plan(policy="default", may_serve=True),
        route=Route("intents", "embedding", 0.95),
        decision="audit",
        reason="audit",
        status=200,
        at=12.5,
        latency_ms=1.0,
        first_byte_ms=1.0,
        draft=Draft(text="card_lost", score=0.8, task="intents", version=3),
        would_serve=True,
        is_held_out=True,
        audit_propensity=0.1,
        certification=certified("intents", 3, target=TARGET),
    )


READING = Reading(text="card_arrival", finish_reason="stop", is_complete=True)


def test_a_held_out_outcome_becomes_an_audit(audits: AuditList, outcome: Outcome) -> None:
    Auditor(audits)(outcome, READING)

    (audit,) = audits.audits
    assert (audit.task, audit.stratum, audit.version, audit.propensity) == ("intents", "variant", 3, 0.1)
    assert (audit.at, audit.loss, audit.score, audit.accepted) == (12.5, 1.0, 0.8, (TARGET,))
    assert (audit.request_id, audit.text_hash) == (outcome.request.id, hash_text(outcome.request.text))


def test_an_equal_answer_has_no_loss(audits: AuditList, outcome: Outcome) -> None:
    Auditor(audits)(outcome, msgspec.structs.replace(READING, text=" card_lost\n"))
    assert audits.audits[0].loss == 0.0


def test_tool_calls_of_both_are_evidence(audits: AuditList, outcome: Outcome) -> None:
    call = '<tool_call>\n{"name":"find","arguments":{"a": 1}}\n</tool_call>'
    teacher = msgspec.structs.replace(READING, text=call, finish_reason="tool_calls")
    drafted = Draft(text=call.replace(": 1", ":1"), score=0.8, task="intents", version=3)
    Auditor(audits)(msgspec.structs.replace(outcome, draft=drafted), teacher)
    assert audits.audits[0].loss == 0.0


@pytest.mark.parametrize(
    "certification",
    [
        certified("intents", 3, stage="shadow", threshold=None, tentative=0.1),
        certified("intents", 3, threshold=0.85),
        certified("intents", 3, forms=("multi/short",)),
        certified("intents", 4),
    ],
)
def test_a_draft_that_the_client_would_not_have_got_is_accepted_by_nothing(
    audits: AuditList, outcome: Outcome, certification: Certification
) -> None:
    Auditor(audits)(msgspec.structs.replace(outcome, certification=certification), READING)
    assert audits.audits[0].accepted == ()


@pytest.mark.parametrize("changes", [{"text": None}, {"text": "card", "finish_reason": "content_filter"}])
def test_what_the_teacher_refuses_is_a_loss(
    audits: AuditList, outcome: Outcome, changes: dict[str, object]
) -> None:
    """The draft would have gone out where the teacher gives no answer."""
    Auditor(audits)(outcome, msgspec.structs.replace(READING, **changes))
    assert (audits.audits[0].loss, audits.audits[0].accepted) == (1.0, (TARGET,))


@pytest.mark.parametrize(("text", "loss"), [("card_l", 0.0), ("card_a", 1.0)])
def test_an_answer_that_was_cut_is_compared_under_the_same_cut(
    audits: AuditList, outcome: Outcome, text: str, loss: float
) -> None:
    Auditor(audits)(outcome, msgspec.structs.replace(READING, text=text, finish_reason="length"))
    assert audits.audits[0].loss == loss


@pytest.mark.parametrize(
    "changes",
    [{"is_held_out": False}, {"is_complete": False}, {"draft": None}, {"route": None}],
)
def test_other_outcomes_are_not_audits(
    audits: AuditList, outcome: Outcome, changes: dict[str, object]
) -> None:
    Auditor(audits)(msgspec.structs.replace(outcome, **changes), READING)
    assert not audits.audits


def test_an_answer_that_broke_off_is_no_audit(audits: AuditList, outcome: Outcome) -> None:
    Auditor(audits)(outcome, msgspec.structs.replace(READING, is_complete=False))
    assert not audits.audits


def test_each_certificate_gets_the_loss_of_its_own_agreement(audits: AuditList, outcome: Outcome) -> None:
    """A list that lacks an item breaks the exact promise whole, and the graded one by a third."""
    graded = RiskTarget(alpha=0.05, agreement="set_f1")
    shares = {"stratum": "variant", "forms": ("single/short",)}
    certificates = (certificate(target=TARGET, **shares), certificate(target=graded, **shares))
    certification = Certification(task="intents", version=3, certificates=certificates)
    drafted = Draft(text="a", score=0.8, task="intents", version=3)
    changed = msgspec.structs.replace(outcome, certification=certification, draft=drafted)

    Auditor(audits)(changed, msgspec.structs.replace(READING, text="a, b"))

    (audit,) = audits.audits
    assert audit.accepted == (TARGET, graded)
    assert audit.loss == 1.0
    assert audit.graded == pytest.approx((1.0, 1 / 3))


def test_under_graded_certificates_alone_the_loss_is_theirs(audits: AuditList, outcome: Outcome) -> None:
    graded = RiskTarget(alpha=0.05, agreement="set_f1")
    drafted = Draft(text="a", score=0.8, task="intents", version=3)
    changed = msgspec.structs.replace(
        outcome, certification=certified("intents", 3, target=graded), draft=drafted
    )

    Auditor(audits)(changed, msgspec.structs.replace(READING, text="a, b"))

    assert (audits.audits[0].loss, audits.audits[0].loss_for(0)) == pytest.approx((1 / 3, 1 / 3))
