"""What becomes training data: only whole answers of the teacher which may be kept."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gateway.core import Demands, Plan, Reading, Route, Usage
from gateway.harvest.base import Row
from gateway.harvest.gather import Gatherer, row_of
from tests.support.builders import NOON, outcome, reading, request


class ListSink:
    """A Sink which keeps rows in a list."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def put(self, row: Row) -> bool:
        self.rows.append(row)
        return True

    def flush(self) -> None: ...

    def close(self) -> None: ...


def test_what_the_reserve_of_a_budget_audits_is_no_evidence() -> None:
    """Only drafts that pass are audited then: evidence must not depend on any decision."""
    plan = Plan(policy="p", may_serve=True, is_reserve=True)

    assert row_of(outcome(plan=plan, decision="audit", is_held_out=True), reading()) is None


def test_an_escalation_becomes_a_row() -> None:
    sink = ListSink()
    asked = request(template_text="You sort questions.")
    held_out = outcome(asked, route=Route("cards", "embedding", 0.97), is_held_out=True, audit_propensity=0.3)

    Gatherer(sink)(held_out, reading(usage=Usage(12, 3)))

    assert sink.rows == [
        Row(
            request_id="req-1",
            at=NOON,
            task="cards",
            match="embedding",
            model="giant",
            template="feed",
            template_text="You sort questions.",
            contract_hash="beef",
            text="where is my card?",
            answer="card_arrival",
            messages=b'[{"role":"user","content":"where is my card?"}]',
            is_held_out=True,
            propensity=0.3,
            form="single/short",
            demands=msgspec.msgpack.encode(Demands()),
            prompt_tokens=12,
            completion_tokens=3,
            caller="key-1",
        )
    ]


def test_tool_calls_teach_like_text() -> None:
    row = row_of(outcome(), reading(text="<tool_call>...", finish_reason="tool_calls"))

    assert row is not None
    assert row.answer == "<tool_call>..."


def test_messages_are_the_clients_own_bytes() -> None:
    """Unknown fields and white space included."""
    messages = b'[ {"role":"user", "content":"hi", "x-unknown": [1e3]} ]'
    asked = request(body=b'{"messages": ' + messages + b', "model":"giant"}')

    row = row_of(outcome(asked), reading())

    assert row is not None
    assert row.messages == messages


def test_a_request_of_the_responses_api_is_kept_as_the_messages_of_a_chat() -> None:
    """Whoever trains on rows need not know which API they came through."""
    asked = request(surface="responses", body=b'{"model":"giant","input":"where is my card?"}')

    row = row_of(outcome(asked), reading())

    assert row is not None
    assert row.messages == b'[{"role":"user","content":"where is my card?"}]'


def test_unreported_usage_is_no_reason_to_forget() -> None:
    row = row_of(outcome(), reading(usage=None))

    assert row is not None
    assert row.prompt_tokens == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"request": request(may_harvest=False)},
        {"plan": Plan(policy="p", may_serve=True, may_harvest=False)},
        {"decision": "local"},
        {"decision": "bypass"},
        {"route": None},
        {"status": 429},
        {"is_complete": False},
        {"is_captured": False},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_may_not_or_cannot_teach_is_never_kept(changes: dict[str, Any]) -> None:
    assert row_of(msgspec.structs.replace(outcome(), **changes), reading()) is None


@pytest.mark.parametrize(
    "said",
    [
        reading(text=None),
        reading(text=""),
        reading(finish_reason="length"),
        reading(finish_reason="content_filter"),
        reading(is_complete=False),
    ],
    ids=["no text", "empty", "cut by length", "filtered", "broken off"],
)
def test_an_answer_which_is_not_whole_text_teaches_nothing(said: Reading) -> None:
    assert row_of(outcome(), said) is None


@pytest.mark.parametrize(
    ("said", "ending"),
    [
        (reading(text=None), "refused"),
        (reading(finish_reason="content_filter"), "refused"),
        (reading(finish_reason="length"), "cut"),
    ],
)
def test_held_out_it_is_evidence_all_the_same(said: Reading, ending: str) -> None:
    """A draft would have gone out where the teacher refuses: that must count against it."""
    row = row_of(outcome(is_held_out=True), said)

    assert row is not None
    assert row.ending == ending


def test_an_answer_that_broke_off_is_no_evidence() -> None:
    assert row_of(outcome(is_held_out=True), reading(is_complete=False)) is None
