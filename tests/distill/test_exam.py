from __future__ import annotations

import threading

from gateway.confidence.deferral import Scorer
from gateway.core import Brief, Deferral
from gateway.distill.base import Lessons
from gateway.distill.exam import drafts_of, examine
from gateway.specialists.base import Listener, Proposal
from tests.distill.conftest import Train, harvested, tickets
from tests.specialists.hosting import drafted


def test_the_runtime_itself_is_scored(train: Train) -> None:
    specialist, rows = train(tickets(200)), tickets(50, start=500)

    scored = examine(specialist, Lessons.of(rows), Scorer())

    assert list(scored.scores) == [drafted(specialist, row.text).score for row in rows]
    assert sum(scored.losses) <= 2


def test_an_input_which_the_specialist_refuses_is_below_every_threshold(train: Train) -> None:
    exam = Lessons.of([harvested("word " * 50, "refund")])

    scored = examine(train(tickets(200)), exam, Scorer())

    assert (list(scored.scores), list(scored.losses)) == ([0.0], [1.0])


class Meeting:
    """A remote specialist whose drafts wait for each other, and are cut at their length if `is_cut`."""

    is_remote = True

    def __init__(self, guests: int, *, is_cut: bool = False) -> None:
        self._table = threading.Barrier(guests, timeout=10)
        self._is_cut = is_cut

    def draft(self, brief: Brief, listener: Listener) -> Proposal:
        self._table.wait()
        return Proposal(text=brief.text, score=0.9, finish_reason="length" if self._is_cut else "stop")

    def close(self) -> None:
        pass


def test_a_remote_specialist_is_asked_many_at_once_and_answers_in_order() -> None:
    texts = [str(number) for number in range(8)]

    drafts = drafts_of(Meeting(8), texts)

    assert [draft.text for draft in drafts if draft] == texts


def test_an_answer_cut_at_its_length_is_wrong_and_never_served() -> None:
    scored = examine(Meeting(1, is_cut=True), Lessons(["a"], ["a"]), Scorer())

    assert (list(scored.scores), list(scored.losses)) == ([0.0], [1.0])


def test_the_deferral_head_scores_what_it_is_given() -> None:
    """Knn distance is missing here, so that a head which needs it trusts nothing."""
    deferral = Deferral(0.0, {"knn_distance": 1.0})

    assert list(examine(Meeting(1), Lessons(["a"], ["a"]), Scorer(), deferral).scores) == [0.0]
