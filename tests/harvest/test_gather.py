"""What becomes training data: only whole answers of the teacher which may be kept."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gateway.core import Demands, Draft, Grant, Plan, Reading, Route, Usage
from gateway.harvest.base import Row, hash_user
from gateway.harvest.gather import LONGEST_EXPORT_BYTES, Gatherer, row_of
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
            policy="default",
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


def answered(content: str | None = "card_arrival", **more: Any) -> bytes:
    message = {"role": "assistant", "content": content, **more}
    return msgspec.json.encode({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})


def name_task(template: str, scope: str) -> str:
    return f"{scope}/{template}"


CALLS = [{"id": "call_1", "type": "function", "function": {"name": "find", "arguments": "{}"}}]


def test_calls_are_kept_with_their_ids_and_the_tools_that_were_offered() -> None:
    said = reading(text="<tool_call>...", finish_reason="tool_calls")
    asked = request(tools=b'[{"type":"function"}]', may_call_in_parallel=False)

    row = row_of(outcome(asked, answer=answered(None, tool_calls=CALLS)), said)

    assert row is not None
    assert msgspec.json.decode(row.reply) == [{"role": "assistant", "tool_calls": CALLS}]
    assert (row.tools, row.may_call_in_parallel) == (b'[{"type":"function"}]', False)


def test_a_text_is_not_kept_twice() -> None:
    row = row_of(outcome(answer=answered()), reading())

    assert row is not None
    assert (row.answer, row.reply) == ("card_arrival", b"")


@pytest.mark.parametrize("decision", ["bypass", "escalated"])
def test_what_no_specialist_could_be_asked_or_say_is_kept_for_exports(decision: str) -> None:
    """Pictures, results of tools, words beside calls: teams train other models on them than ours."""
    said = reading(text=None, finish_reason="tool_calls")
    answer = answered("Let me look.", tool_calls=CALLS)

    row = row_of(outcome(route=None, decision=decision, answer=answer), said, name_task=name_task)

    assert row is not None
    assert (row.is_lesson, row.is_held_out, row.task) == (False, False, "/feed")
    assert msgspec.json.decode(row.reply)[0]["content"] == "Let me look."


@pytest.mark.parametrize(
    "changes",
    [
        {"answer": answered(None, refusal="No.")},
        {"status": 400},
        {"is_complete": False},
        {"decision": "local"},
        {"request": request(surface="embeddings")},
        {"request": request(decoded=b" " * (LONGEST_EXPORT_BYTES + 1))},
        {"request": request(may_harvest=False)},
        {"plan": Plan(policy="p", may_serve=False, may_harvest=False)},
    ],
    ids=[
        "refused",
        "failed",
        "broken off",
        "our own",
        "no conversation",
        "too large",
        "not allowed",
        "not by policy",
    ],
)
def test_what_nobody_could_train_on_or_may_keep_is_not_exported(changes: dict[str, Any]) -> None:
    facts: dict[str, Any] = {"route": None, "decision": "bypass", "answer": answered()}

    assert row_of(outcome(**facts | changes), reading(text=None), name_task=name_task) is None


def test_the_draft_that_was_not_served_is_kept_beside_the_answer() -> None:
    """The pair is what preference training needs."""
    draft = Draft(text="card_lost", score=0.4, task="cards", version=3)

    row = row_of(outcome(draft=draft), reading())

    assert row is not None
    assert (row.draft, row.draft_version, row.draft_score) == ("card_lost", 3, 0.4)


def test_the_end_user_is_kept_as_a_keyed_hash() -> None:
    """Who has a list of users cannot tell whose rows these are, and `forget` finds them all the same."""
    body = b'{"messages":[{"role":"user","content":"hi"}],"user":"jane@example.org"}'
    asked = outcome(request(body=body))

    rows = [row_of(asked, reading(), user_key=key) for key in (b"one", b"two")]

    names = [row.user for row in rows if row]
    assert names[0] == hash_user("jane@example.org", b"one")
    assert len(set(names)) == 2
    assert not any("jane" in name for name in names)


@pytest.mark.parametrize(
    ("by_policy", "by_key", "days"), [(None, None, None), (7.0, None, 7), (7.0, 1.0, 1), (7.0, 30.0, 7)]
)
def test_the_shortest_time_is_promised(
    by_policy: float | None, by_key: float | None, days: int | None
) -> None:
    plan = Plan(policy="p", may_serve=True, keep_days=by_policy)

    row = row_of(outcome(request(grant=Grant(keep_days=by_key)), plan=plan), reading())

    assert row is not None
    assert row.expires_at == (None if days is None else NOON + days * 86_400)
