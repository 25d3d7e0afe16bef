"""What reviewers are shown, in which order, and what becomes of what they say."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from gateway.distill.verdicts import apply_verdicts
from gateway.errors import ConfigError
from gateway.harvest.base import Row
from gateway.harvest.outbox import Outbox
from gateway.harvest.reader import HarvestReader
from gateway.processes.reviewing import Review, Ruling
from gateway.settings import Settings
from gateway.store.reviews import Feedback, Rating
from gateway.store.state import State
from tests.distill.conftest import ANSWERS, tickets

WRONG = 7


@pytest.fixture
def rows(settings: Settings) -> list[Row]:
    """Tickets of which one has a wrong answer."""
    rows = [msgspec.structs.replace(row, tenant="shop") for row in tickets(90, held_out_share=0.0)]
    other = ANSWERS[(ANSWERS.index(rows[WRONG].answer) + 1) % 3]
    rows[WRONG] = msgspec.structs.replace(rows[WRONG], answer=other)
    harvest(settings, rows)
    return rows


def harvest(settings: Settings, rows: Sequence[Row]) -> None:
    box = Outbox(settings.home.worker_rows(0))
    for row in rows:
        box.put(row)
    box.close()


def complain(
    state: State, request_id: str, *, tenant: str = "shop", rating: Rating = "down", answer: str = ""
) -> None:
    said = Feedback(request_id=request_id, tenant=tenant, caller="app", rating=rating, answer=answer, at=1.0)
    state.reviews.put_feedback(said)
    state.reviews.flush()


def test_the_wrong_answer_is_shown_first_and_not_as_whose_it_is(
    settings: Settings, state: State, rows: list[Row]
) -> None:
    first = Review(settings, state).list_items()[0]

    assert (first.request_id, first.text) == (rows[WRONG].request_id, rows[WRONG].text)
    assert rows[WRONG].answer in first.candidates
    assert len(first.candidates) == 2
    assert set(msgspec.to_builtins(first)) == {"request_id", "task", "source", "text", "candidates"}


def test_the_order_of_candidates_tells_nothing(settings: Settings, state: State, rows: list[Row]) -> None:
    items = [item for item in Review(settings, state).list_items() if len(item.candidates) == 2]
    answers = {row.request_id: row.answer for row in rows}
    for row in rows[:40]:
        complain(state, row.request_id, answer="something else")

    places = {
        item.candidates.index(answers[item.request_id]) for item in Review(settings, state).list_items()
    }

    assert items
    assert {0, 1} <= places


def test_a_correction_changes_what_is_learnt_until_it_is_taken_back(
    settings: Settings, state: State, rows: list[Row]
) -> None:
    review = Review(settings, state)
    review.decide([Ruling(rows[WRONG].request_id, "the right one"), Ruling(rows[1].request_id, exclude=True)])

    def learnt() -> dict[str, str]:
        kept = HarvestReader(settings.home.harvest).rows("task-1").rows
        return {row.request_id: row.answer for row in apply_verdicts(kept, state.reviews.verdicts("task-1"))}

    assert learnt()[rows[WRONG].request_id] == "the right one"
    assert rows[1].request_id not in learnt()
    assert not {item.request_id for item in review.list_items()} & {
        rows[WRONG].request_id,
        rows[1].request_id,
    }

    undone = review.undo()
    assert undone is not None
    assert undone.request_id == rows[1].request_id
    assert rows[1].request_id in learnt()


def test_what_apps_complain_of_comes_before_what_is_suspected(
    settings: Settings, state: State, rows: list[Row]
) -> None:
    complain(state, rows[3].request_id, rating="up")
    complain(state, rows[4].request_id, rating="", answer="a proposal")
    complain(state, rows[5].request_id)

    items = Review(settings, state).list_items()

    assert [(item.request_id, item.source) for item in items[:3]] == [
        (rows[4].request_id, "feedback"),
        (rows[5].request_id, "feedback"),
        (rows[WRONG].request_id, "suspected"),
    ]
    assert set(items[0].candidates) == {rows[4].answer, "a proposal"}


def test_nobody_has_a_say_of_another_tenants_requests(
    settings: Settings, state: State, rows: list[Row]
) -> None:
    complain(state, rows[4].request_id, tenant="elsewhere", answer="poison")

    assert all("poison" not in item.candidates for item in Review(settings, state).list_items())


def test_a_foreign_word_does_not_hide_a_complaint(settings: Settings, state: State, rows: list[Row]) -> None:
    complain(state, rows[4].request_id, answer="a proposal")
    complain(state, rows[4].request_id, tenant="elsewhere", rating="up")

    assert Review(settings, state).list_items()[0].request_id == rows[4].request_id


def test_what_an_app_says_of_a_local_answer_is_reviewed_and_learnt(
    settings: Settings, state: State, rows: list[Row]
) -> None:
    local = msgspec.structs.replace(
        rows[0],
        request_id="local",
        text="a new text",
        answer="",
        draft="refund",
        ending="none",
        is_lesson=False,
    )
    harvest(settings, [local])
    complain(state, "local", answer="invoice")

    review = Review(settings, state)
    first = review.list_items()[0]
    assert (first.request_id, first.source, set(first.candidates)) == (
        "local",
        "feedback",
        {"refund", "invoice"},
    )

    (verdict,) = review.decide([Ruling("local", "invoice")])
    assert (verdict.kind, verdict.answer) == ("correct", "invoice")
    assert "local" not in {item.request_id for item in review.list_items()}
    assert review.undo(verdict) is not None
    assert review.list_items()[0].request_id == "local"


def test_complaints_whose_text_is_gone_are_counted(settings: Settings, state: State, rows: list[Row]) -> None:
    complain(state, rows[4].request_id)
    complain(state, "gone")
    complain(state, "gone", answer="twice")
    complain(state, "gone too", answer="refund", rating="up")
    complain(state, "praised", rating="up")

    assert Review(settings, state).count_lost() == 2


def test_a_proposal_is_not_learnt_before_a_reviewer_takes_it(
    settings: Settings, state: State, rows: list[Row]
) -> None:
    complain(state, rows[4].request_id, answer="a proposal")

    kept = HarvestReader(settings.home.harvest).rows("task-1").rows
    assert apply_verdicts(kept, state.reviews.verdicts("task-1")) == kept


def test_unknown_requests_and_tasks_are_named(settings: Settings, state: State, rows: list[Row]) -> None:
    with pytest.raises(ConfigError, match="no row of request 'nope'"):
        Review(settings, state).decide([Ruling("nope", "answer")])
    with pytest.raises(ConfigError, match="known: task-1"):
        Review(settings, state, ["other"])


@pytest.mark.parametrize("answer", ["", " \n"])
def test_a_blank_answer_is_refused(answer: str) -> None:
    """No teacher's blank answer is learnt either."""
    with pytest.raises(ValueError, match="is blank"):
        Ruling("r", answer)


def test_a_messages_tool_calls_are_not_learnt_as_a_text(
    settings: Settings, state: State, rows: list[Row]
) -> None:
    """What the API writes, and older exports for Label Studio had."""
    calls = '[{"id": "c", "type": "function", "function": {"name": "find", "arguments": "{}"}}]'

    with pytest.raises(ConfigError, match="no tool call; one looks like"):
        Review(settings, state).decide([Ruling(rows[0].request_id, calls)])

    Review(settings, state).decide([Ruling(rows[0].request_id, '[{"id": "c"}]')])


def test_a_reviewers_private_data_is_in_no_file(settings: Settings, state: State) -> None:
    """By the kinds of the row itself, which its policy had when it was kept."""
    row = msgspec.structs.replace(tickets(1, held_out_share=0.0)[0], private_kinds=("email",))
    harvest(settings, [row])

    Review(settings, state).decide([Ruling(row.request_id, "write to jane@example.org")])

    files = [file for file in settings.home.folder.rglob("*") if file.is_file()]
    assert [verdict.kind for verdict in state.reviews.verdicts(row.task)] == ["exclude"]
    assert not [file for file in files if b"jane@" in file.read_bytes()]
