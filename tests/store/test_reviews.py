"""Verdicts and feedback: the same for every process, taken back one by one, forgotten on demand."""

from __future__ import annotations

from gateway.store.database import Database
from gateway.store.reviews import Changes, Feedback, ReviewStore, Verdict, VerdictKind


def verdict(request_id: str, kind: VerdictKind = "correct", task: str = "task") -> Verdict:
    return Verdict(
        request_id=request_id, task=task, kind=kind, text_hash="t", answer_hash="a", answer="right"
    )


def feedback(request_id: str) -> Feedback:
    return Feedback(request_id=request_id, tenant="shop", caller="app", rating="down", at=3.0)


def test_of_two_verdicts_on_a_request_the_later_counts(database: Database, other_process: Database) -> None:
    reviews = ReviewStore(database, clock=lambda: 7.0)
    reviews.put([verdict("one"), verdict("two"), verdict("one", "exclude")])

    found = ReviewStore(other_process).verdicts("task")

    assert [(each.request_id, each.kind, each.at) for each in found] == [
        ("two", "correct", 7.0),
        ("one", "exclude", 7.0),
    ]


def test_verdicts_are_taken_back_in_turn(database: Database) -> None:
    """The one before counts again."""
    reviews = ReviewStore(database)
    reviews.put([verdict("one", "exclude"), verdict("one", "correct")])

    undone = reviews.undo(["task"])

    assert undone is not None
    assert undone.kind == "correct"
    assert [each.kind for each in reviews.verdicts("task")] == ["exclude"]
    assert reviews.undo(["another task"]) is None


def test_a_reviewer_takes_back_what_he_said_and_not_what_another_said_since(database: Database) -> None:
    moments = iter([1.0, 2.0, 3.0])
    reviews = ReviewStore(database, clock=lambda: next(moments))
    mine = reviews.put([verdict("one", "correct")])[0]
    reviews.put([verdict("one", "exclude")])

    assert reviews.undo(["task"], mine) == mine
    assert [each.kind for each in reviews.verdicts("task")] == ["exclude"]
    assert reviews.undo(["task"], mine) is None


def test_what_is_said_twice_is_kept_once(database: Database) -> None:
    """A file of verdicts may be applied again; what it says is taken back at once, and learnt once."""
    reviews = ReviewStore(database, clock=lambda: 7.0)
    reviews.put([verdict("one", "exclude"), verdict("one")])
    before = reviews.changes("task")

    reviews.put([verdict("one"), verdict("one")])

    assert reviews.changes("task") == before
    reviews.undo()
    assert [each.kind for each in reviews.verdicts("task")] == ["exclude"]
    reviews.put([verdict("one")])
    assert [each.kind for each in reviews.verdicts("task")] == ["correct"]


def test_what_may_be_learnt_changes_with_each_verdict_and_each_undo(database: Database) -> None:
    """An accepted answer changes nothing: no version need be made of it."""
    reviews = ReviewStore(database, clock=lambda: 7.0)
    assert reviews.changes("task") == Changes()

    reviews.put([verdict("one", "accept"), verdict("two")])
    reviews.undo()

    assert reviews.changes("task") == Changes(2, 7.0)


def test_feedback_is_written_off_the_loop_and_dropped_when_there_is_too_much(
    database: Database, other_process: Database
) -> None:
    reviews = ReviewStore(database, capacity=1)

    assert [reviews.put_feedback(feedback(name)) for name in ("one", "two")] == [True, False]
    assert ReviewStore(other_process).feedback() == []
    reviews.flush()

    assert ReviewStore(other_process).feedback() == [feedback("one")]
    assert reviews.dropped == 1


def test_all_that_was_said_of_a_request_is_forgotten(database: Database) -> None:
    reviews = ReviewStore(database)
    reviews.put([verdict("one"), verdict("two")])
    reviews.put_feedback(feedback("one"))
    reviews.flush()

    assert reviews.forget(["one"]) == 2
    assert [each.request_id for each in reviews.verdicts("task")] == ["two"]
    assert reviews.feedback() == []
