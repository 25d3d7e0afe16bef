"""What reviewers say reaches lessons at once, and evidence never."""

from __future__ import annotations

import msgspec
import pytest

from gateway.distill.verdicts import apply_verdicts, verdict_on
from gateway.harvest.base import Row
from tests.distill.conftest import harvested


def served(text: str, draft: str, **changes: str) -> Row:
    """Return a local answer that an app complained of."""
    row = harvested(text, "")
    return msgspec.structs.replace(row, draft=draft, ending="none", is_lesson=False, **changes)


def test_a_correction_reaches_every_row_with_that_mistake() -> None:
    """The same text with the same answer, however it is written; another answer to it is another case."""
    wrong = harvested('{"a": 1}', '{"x": 1, "y": 2}', at=1)
    rows = [
        wrong,
        msgspec.structs.replace(wrong, request_id="again", answer='{"y":2,"x":1}', completion_tokens=9),
        msgspec.structs.replace(wrong, request_id="other", answer='{"x": 5}'),
    ]

    learnt = apply_verdicts(rows, [verdict_on(wrong, '{"x": 3}')])

    assert [row.answer for row in learnt] == ['{"x": 3}', '{"x": 3}', '{"x": 5}']
    assert learnt[1].completion_tokens == 0, "nobody knows what the teacher would have taken for it"


def test_an_excluded_answer_is_not_learnt() -> None:
    row, other = harvested("a text", "wrong"), harvested("another", "right")

    assert apply_verdicts([row, other], [verdict_on(row, None)]) == [other]


def test_evidence_is_what_the_teacher_said_whatever_anybody_thinks_of_it() -> None:
    audit = harvested("a text", "wrong", held_out=True)

    assert apply_verdicts([audit], [verdict_on(audit, None)]) == [audit]
    assert apply_verdicts([audit], [verdict_on(audit, "right")]) == [audit]


def test_the_right_answer_in_other_words_accepts_what_was_given() -> None:
    row = harvested("a text", "refund")

    assert verdict_on(row, " refund ").kind == "accept"
    assert apply_verdicts([row], [verdict_on(row, "refund")]) == [row]


def test_a_local_answer_is_no_lesson_without_a_verdict() -> None:
    lesson, local = harvested("a text", "refund"), served("another", "refund")

    assert apply_verdicts([lesson, local], []) == [lesson]
    assert apply_verdicts([lesson, local], [verdict_on(lesson, None)]) == []


def test_a_reviewers_answer_makes_a_lesson_of_a_local_one() -> None:
    local = served("a text", "refund")
    verdict = verdict_on(local, "invoice")

    (learnt,) = apply_verdicts([local], [verdict])

    assert (verdict.kind, verdict.changes_lessons) == ("correct", True)
    assert (learnt.answer, learnt.ending, learnt.is_lesson, learnt.is_held_out) == (
        "invoice",
        "whole",
        True,
        False,
    )
    assert (learnt.draft, learnt.is_local) == ("refund", False), "trainers of preferences want both"


def test_a_local_answer_that_a_reviewer_accepts_is_a_lesson_but_no_reason_for_a_version() -> None:
    """The app was wrong. What the specialist says already need not be learnt in haste."""
    local = served("a text", "refund")
    verdict = verdict_on(local, "refund ")

    (learnt,) = apply_verdicts([local], [verdict])

    assert (verdict.kind, verdict.changes_lessons) == ("accept", False)
    assert (learnt.answer, learnt.is_lesson) == ("refund", True)
    assert apply_verdicts([local], [verdict_on(local, None)]) == []


def test_a_mistake_that_a_specialist_repeats_is_taken_from_its_lessons_too() -> None:
    """One verdict speaks of the text and the answer, whoever gave it; of evidence it never speaks."""
    lesson, audit = harvested("a text", "refund"), harvested("a text", "refund", held_out=True)
    local, otherwise = served("a text", "refund"), served("a text", "else", request_id="other")

    learnt = apply_verdicts([lesson, audit, local, otherwise], [verdict_on(local, "invoice")])

    assert [row.answer for row in learnt] == ["invoice", "refund", "invoice"]
    assert learnt[1] == audit


@pytest.mark.parametrize("said", ["write to jane@example.org", "write to [email]"])
def test_what_a_policy_replaces_is_not_kept_of_a_reviewer(said: str) -> None:
    """It was kept and learnt as typed; nor may a specialist answer with the word in its place."""
    row = msgspec.structs.replace(harvested("a text", "wrong"), private_kinds=("email",))

    verdict = verdict_on(row, said)

    assert (verdict.kind, verdict.answer) == ("exclude", "")
    assert verdict_on(msgspec.structs.replace(row, private_kinds=("ip",)), said).answer == said


def test_an_answer_that_was_redacted_is_accepted_as_it_was_given() -> None:
    row = msgspec.structs.replace(harvested("a text", "write to [email]"), private_kinds=("email",))

    assert verdict_on(row, "write to jane@example.org").kind == "accept"


def test_a_local_answer_that_was_redacted_is_no_lesson_though_it_is_accepted() -> None:
    row = msgspec.structs.replace(served("a text", "write to [email]"), private_kinds=("email",))

    assert verdict_on(row, "write to [email]").kind == "exclude"
