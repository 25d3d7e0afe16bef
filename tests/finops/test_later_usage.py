"""Background responses and batches are paid once, by who asked, when a later answer says what they took."""

from __future__ import annotations

import json

import pytest

from gateway.core import Outcome, Request
from gateway.finops.ledger import Ledger
from gateway.finops.prices import PriceTable
from gateway.store.database import Database
from gateway.store.decision_log import DecisionLog
from gateway.store.ledger_row import LedgerRow
from gateway.wire.endpoints import find_resource
from gateway.wire.surfaces import read_outcome
from tests.finops.conftest import create_ledger
from tests.support.builders import NOON, outcome, request

TOKENS = {"input_tokens": 1000, "output_tokens": 100, "total_tokens": 1100}
ZEROS = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}


@pytest.fixture
def ledger(prices: PriceTable, database: Database) -> Ledger:
    return create_ledger(prices, database, lambda: NOON)


def asked(method: str, path: str, **facts: object) -> Request:
    resource = find_resource(method, path)
    surface = "responses" if (method, path) == ("POST", "/v1/responses") else "other"
    return request(surface=surface, resource=resource, **facts)


def answered(for_request: Request, answer: object) -> Outcome:
    return outcome(for_request, decision="bypass", route=None, answer=json.dumps(answer).encode())


def rows_after(ledger: Ledger, database: Database, *outcomes: Outcome) -> list[LedgerRow]:
    """Return the rows of what was billed."""
    for each in outcomes:
        ledger(each, read_outcome(each))
    ledger.flush()
    return [row for row in DecisionLog(lambda: database).iterate() if row.source != "none"]


def response(status: str, usage: object) -> dict[str, object]:
    return {
        "id": "resp_1",
        "object": "response",
        "status": status,
        "model": "giant",
        "output": [],
        "usage": usage,
    }


def batch(status: str, usage: object, **facts: object) -> dict[str, object]:
    return {"id": "batch_1", "object": "batch", "status": status, "usage": usage, **facts}


def test_a_background_response_is_paid_once_by_who_asked_for_it(ledger: Ledger, database: Database) -> None:
    begun = asked("POST", "/v1/responses", caller="key-1", tenant="acme", id="req-1")
    polled = asked("GET", "/v1/responses/resp_1", caller="key-2", model="")

    (row,) = rows_after(
        ledger,
        database,
        answered(begun, response("queued", None)),
        answered(polled, response("in_progress", None)),
        answered(polled, response("completed", TOKENS)),
        answered(polled, response("completed", TOKENS)),
    )

    assert (row.key, row.tenant, row.request_id, row.usd, row.source) == (
        "key-1",
        "acme",
        "req-1",
        2.0,
        "reported",
    )


def test_an_answer_that_was_paid_is_not_paid_again_when_it_is_fetched(
    ledger: Ledger, database: Database
) -> None:
    polled = asked("GET", "/v1/responses/resp_1", model="")

    rows = rows_after(
        ledger,
        database,
        answered(asked("POST", "/v1/responses"), response("completed", TOKENS)),
        answered(polled, response("completed", TOKENS)),
        answered(
            asked("GET", "/v1/chat/completions/c1", model=""), {"id": "c1", "usage": TOKENS, "choices": []}
        ),
    )

    assert [row.usd for row in rows] == [2.0]


def test_a_batch_is_paid_when_it_is_done(ledger: Ledger, database: Database) -> None:
    begun, polled = asked("POST", "/v1/batches", model=""), asked("GET", "/v1/batches/batch_1", model="")

    (row,) = rows_after(
        ledger,
        database,
        answered(begun, batch("validating", ZEROS)),
        answered(polled, batch("in_progress", ZEROS)),
        answered(polled, batch("completed", TOKENS, model="giant")),
        answered(polled, batch("completed", TOKENS, model="giant")),
    )

    assert (row.usd, row.tier, row.endpoint, row.model) == (2.0, "batch", "/v1/batches", "giant")


def test_a_batch_that_reports_nothing_is_paid_by_its_answers(ledger: Ledger, database: Database) -> None:
    """Once, however often the file is fetched."""
    line = {"custom_id": "1", "response": {"body": {"model": "giant", "usage": TOKENS}}}
    fetched = asked("GET", "/v1/files/file-7/content", model="")
    lines = (json.dumps(line) + "\n").encode() * 3

    (row,) = rows_after(
        ledger,
        database,
        answered(asked("POST", "/v1/batches", model=""), batch("validating", None)),
        answered(
            asked("GET", "/v1/batches/batch_1", model=""), batch("completed", None, output_file_id="file-7")
        ),
        outcome(fetched, decision="bypass", route=None, answer=lines),
        outcome(fetched, decision="bypass", route=None, answer=lines),
    )

    assert (row.prompt_tokens, row.completion_tokens, row.usd) == (3000, 300, 6.0)


def test_what_another_gateway_began_is_not_paid_here(ledger: Ledger, database: Database) -> None:
    polled = asked("GET", "/v1/batches/batch_9", model="")

    assert (
        rows_after(ledger, database, answered(polled, {**batch("completed", TOKENS), "id": "batch_9"})) == []
    )


def test_two_workers_count_it_once(prices: PriceTable, database: Database) -> None:
    """Whichever of them sees the end first."""
    workers = [create_ledger(prices, database, lambda: NOON) for _ in range(2)]
    polled = asked("GET", "/v1/responses/resp_1", model="")
    rows_after(workers[0], database, answered(asked("POST", "/v1/responses"), response("queued", None)))

    done = answered(polled, response("completed", TOKENS))
    counts = [len(rows_after(worker, database, done)) for worker in workers]

    assert counts == [1, 1]
