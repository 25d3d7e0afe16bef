from __future__ import annotations

import threading

import msgspec
import pytest

from gateway.confidence.deferral import Scorer
from gateway.core import Deferral, Demands, DraftRequest, Trace
from gateway.distill.base import TrainingSet
from gateway.distill.evaluation import draft_answers, evaluate
from gateway.specialists.base import Listener, Prediction
from tests.distill.conftest import Train, harvested, tickets
from tests.specialists.hosting import drafted
from tests.support.waiting import PATIENCE_S


def test_the_runtime_itself_is_scored(train: Train) -> None:
    specialist, rows = train(tickets(200)), tickets(50, start=500)

    scored = evaluate(specialist, TrainingSet.of(rows), Scorer())

    assert list(scored.scores) == [drafted(specialist, row.text).score for row in rows]
    assert sum(scored.losses) <= 2


def test_an_input_which_the_specialist_refuses_is_below_every_threshold(train: Train) -> None:
    exam = TrainingSet.of([harvested("word " * 50, "refund")])

    scored = evaluate(train(tickets(200)), exam, Scorer())

    assert (list(scored.scores), list(scored.losses)) == ([0.0], [1.0])


class Meeting:
    """A remote specialist whose drafts wait for each other, and end as `end` says."""

    is_remote = True

    def __init__(self, guests: int, end: Prediction | None = None) -> None:
        self._table = threading.Barrier(guests, timeout=PATIENCE_S)
        self._end = end or Prediction(text="", score=0.9)

    def draft(self, draft_request: DraftRequest, listener: Listener) -> Prediction:
        self._table.wait()
        return msgspec.structs.replace(self._end, text=draft_request.text)

    def close(self) -> None:
        pass


def test_a_remote_specialist_is_asked_many_at_once_and_answers_in_order() -> None:
    texts = [str(number) for number in range(8)]

    drafts = draft_answers(Meeting(8), [(text, Demands()) for text in texts])

    assert [draft.text for draft in drafts if draft] == texts


CUT = Prediction(text="", score=0.9, finish_reason="length", completion_tokens=2)


@pytest.mark.parametrize("steps", [None, 2])
def test_an_answer_cut_at_its_length_is_wrong_and_never_served(steps: int | None) -> None:
    cut = msgspec.structs.replace(CUT, trace=traced(steps) if steps else None)

    scored = evaluate(Meeting(1, cut), TrainingSet(["a"], ["a"]), Scorer())

    assert (list(scored.scores), list(scored.losses), list(scored.drafts)) == ([0.0], [1.0], [None])


def test_a_cut_answer_whose_beginning_was_decided_on_counts_as_served() -> None:
    """A stream would have carried it to its cut: the certificate must speak of it."""
    cut = msgspec.structs.replace(CUT, trace=traced(1))

    scored = evaluate(Meeting(1, cut), TrainingSet(["a"], ["a and more"]), Scorer())

    assert (list(scored.scores), list(scored.losses)) == ([0.9], [1.0])


def test_a_specialist_is_asked_for_what_the_client_demanded() -> None:
    """A guided draft may be another one: what is tested must be what serves."""
    asked: list[DraftRequest] = []

    class Listening(Meeting):
        def draft(self, draft_request: DraftRequest, listener: Listener) -> Prediction:
            asked.append(draft_request)
            return super().draft(draft_request, listener)

    demands = Demands(max_tokens=9, stop=("END",), response_format=b'{"type":"json_object"}', top_logprobs=2)
    draft_answers(Listening(1), [("a", demands)])

    assert (asked[0].max_tokens, asked[0].stop, asked[0].top_logprobs) == (9, ("END",), 2)
    assert asked[0].response_format == demands.response_format


def traced(steps: int) -> Trace:
    return Trace((-0.1,) * steps, (2.0,) * steps, (0.3,) * steps)


def test_the_deferral_head_scores_what_it_is_given() -> None:
    """Knn distance is missing here, so that a head which needs it trusts nothing."""
    deferral = Deferral(0.0, {"knn_distance": 1.0})

    assert list(evaluate(Meeting(1), TrainingSet(["a"], ["a"]), Scorer(), deferral).scores) == [0.0]
