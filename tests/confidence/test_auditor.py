from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from gateway.confidence.auditor import Auditor
from gateway.core import Draft, Outcome, Plan, Reading, Request, Route
from tests.confidence.conftest import AuditList


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
        epoch=2,
    )


READING = Reading(text="card_arrival", finish_reason="stop", is_complete=True)


def test_a_held_out_outcome_becomes_an_audit(audits: AuditList, outcome: Outcome) -> None:
    Auditor(audits)(outcome, READING)

    (audit,) = audits.audits
    assert (audit.task, audit.lane, audit.version, audit.epoch) == ("intents", "embedding", 3, 2)
    assert (audit.at, audit.loss, audit.score, audit.accepted) == (12.5, 1.0, 0.8, True)


def test_an_equal_answer_has_no_loss(audits: AuditList, outcome: Outcome) -> None:
    Auditor(audits)(outcome, msgspec.structs.replace(READING, text=" card_lost\n"))
    assert audits.audits[0].loss == 0.0


def test_tool_calls_of_both_are_evidence(audits: AuditList, outcome: Outcome) -> None:
    call = '<tool_call>\n{"name":"find","arguments":{"a": 1}}\n</tool_call>'
    teacher = msgspec.structs.replace(READING, text=call, finish_reason="tool_calls")
    drafted = Draft(text=call.replace(": 1", ":1"), score=0.8, task="intents", version=3)
    Auditor(audits)(msgspec.structs.replace(outcome, draft=drafted), teacher)
    assert audits.audits[0].loss == 0.0


def test_a_shadow_audit_is_never_counted_as_accepted(audits: AuditList, outcome: Outcome) -> None:
    """In shadow `would_serve` is about a tentative threshold, and no certificate covers that."""
    Auditor(audits)(msgspec.structs.replace(outcome, decision="escalated"), READING)
    assert not audits.audits[0].accepted


@pytest.mark.parametrize(
    "changes",
    [{"is_held_out": False}, {"is_complete": False}, {"draft": None}, {"route": None}],
)
def test_other_outcomes_are_not_audits(
    audits: AuditList, outcome: Outcome, changes: dict[str, object]
) -> None:
    Auditor(audits)(msgspec.structs.replace(outcome, **changes), READING)
    assert not audits.audits


@pytest.mark.parametrize("changes", [{"text": None}, {"is_complete": False}, {"finish_reason": "length"}])
def test_an_answer_that_the_teacher_did_not_finish_is_no_audit(
    audits: AuditList, outcome: Outcome, changes: dict[str, object]
) -> None:
    Auditor(audits)(outcome, msgspec.structs.replace(READING, **changes))
    assert not audits.audits
