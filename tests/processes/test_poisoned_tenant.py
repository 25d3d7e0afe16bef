"""One tenant sends wrong answers by the dozen: others never learn them, its reviewers see them first."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.demo.tickets import generate_tickets
from gateway.harvest.reader import HarvestReader
from gateway.harvest.sources import Columns, read_records
from gateway.processes.importing import import_records
from gateway.processes.record_binder import Owner
from gateway.processes.reviewing import Review
from gateway.settings import Settings
from gateway.store.state import State

ROWS, POISONED = 400, 20
WANTED = "refund"


@pytest.fixture
def tickets() -> list[tuple[str, str]]:
    pairs = generate_tickets(ROWS, seed=3)
    return [(str(pair.messages[-1]["content"]), pair.answer) for pair in pairs]


def bring_in(settings: Settings, folder: Path, tenant: str, tickets: list[tuple[str, str]]) -> str:
    """Import what an app of `tenant` has asked; return the task that learns it."""
    path = folder / f"{tenant}.jsonl"
    system = {"role": "system", "content": "Sort the ticket."}
    records = [
        {"messages": [system, {"role": "user", "content": text}], "answer": answer, "model": "gpt-4o"}
        for text, answer in tickets
    ]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    report = import_records(read_records(path, Columns()), settings, Owner(caller="app", tenant=tenant), {})
    [task] = report.tasks
    return task


def test_a_poisoned_batch_reaches_no_other_tenant_and_is_first_in_the_review(
    settings: Settings, state: State, tmp_path: Path, tickets: list[tuple[str, str]]
) -> None:
    others = [number for number, (_, answer) in enumerate(tickets) if answer != WANTED]
    wrong = {tickets[number][0] for number in others[:: len(others) // POISONED][:POISONED]}
    poisoned = [(text, WANTED if text in wrong else answer) for text, answer in tickets]

    theirs = bring_in(settings, tmp_path, "poisoner", poisoned)
    ours = bring_in(settings, tmp_path, "shop", tickets)

    lessons = HarvestReader(settings.home.harvest).rows(ours).rows
    assert theirs != ours, "the same app at two tenants teaches two specialists"
    assert {row.tenant for row in lessons} == {"shop"}
    assert {row.text: row.answer for row in lessons} == dict(tickets)
    items = Review(settings, state).list_items()
    assert {item.task for item in items[:POISONED]} == {theirs}
    shown = [item.text for item in items]
    # The students doubt some tickets that are hard, too.
    assert len(wrong.intersection(shown[:POISONED])) >= 0.75 * POISONED
    assert wrong <= set(shown[: 2 * POISONED])
