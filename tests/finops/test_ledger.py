"""The ledger: teacher's answers cost, local ones would have, audits are a cost like any other."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.core import Decision, Draft, Usage
from gateway.finops.ledger import Ledger
from gateway.finops.prices import Price, PriceTable
from gateway.finops.pricing import Pricer
from gateway.finops.tokens import TokenEstimator
from gateway.store.database import Database
from gateway.store.decision_log import DecisionLog
from gateway.store.spend import SpendLog, Sums
from tests.finops.conftest import create_ledger
from tests.support.builders import NOON, outcome, reading, request

DRAFT = Draft(text="card_arrival", score=0.9, task="cards", version=1)
DAY_S = 86_400
DECISIONS: tuple[Decision, ...] = ("local", "escalated", "audit", "bypass")


@pytest.fixture
def ledger(prices: PriceTable, database: Database) -> Ledger:
    return create_ledger(prices, database, lambda: NOON)


def sums_by_decision(ledger: Ledger, spend: SpendLog) -> dict[str, Sums]:
    ledger.flush()
    return {account.decision: sums for account, sums in spend.entries()}


@pytest.mark.parametrize("decision", ["escalated", "audit", "bypass"])
def test_the_teachers_answers_cost_what_it_reported(ledger: Ledger, spend: SpendLog, decision: str) -> None:
    """1,000 prompt and 100 completion tokens are $1 and $1; nothing was saved by asking the teacher."""
    ledger(outcome(decision=decision), reading(usage=Usage(1000, 100)))

    sums = sums_by_decision(ledger, spend)[decision]
    assert (sums.usd, sums.counterfactual_usd, sums.estimated) == (2.0, 2.0, 0)


def test_a_local_answer_costs_nothing_and_saves_what_the_teacher_takes(
    ledger: Ledger, spend: SpendLog
) -> None:
    """The estimate follows what the teacher reported for the same template."""
    ledger(outcome(), reading(usage=Usage(1000, 100)))

    ledger(outcome(decision="local", draft=DRAFT), reading(usage=Usage(9, 9, is_estimated=True)))

    local = sums_by_decision(ledger, spend)["local"]
    assert local.usd == 0.0
    assert local.counterfactual_usd == pytest.approx(2.0)
    assert local.estimated == 1
    assert ledger.saved_usd == pytest.approx(2.0)


def test_shadow_drafts_show_what_they_would_have_saved(ledger: Ledger, spend: SpendLog) -> None:
    ledger(outcome(would_serve=True, draft=DRAFT), reading(usage=Usage(1000, 100)))
    ledger(outcome(would_serve=False, draft=DRAFT), reading(usage=Usage(1000, 100)))

    assert sums_by_decision(ledger, spend)["escalated"].would_save_usd == pytest.approx(2.0)


def test_unreported_usage_is_estimated_and_counted(ledger: Ledger, spend: SpendLog) -> None:
    """A stream whose client did not ask for usage still costs."""
    ledger(outcome(), reading(usage=None))

    sums = sums_by_decision(ledger, spend)["escalated"]
    assert sums.estimated == 1
    assert sums.usd > 0


@pytest.mark.parametrize("usage", [Usage(-1, 5), Usage(10**30, 5)], ids=["negative", "absurd"])
def test_implausible_usage_is_estimated_instead(ledger: Ledger, spend: SpendLog, usage: Usage) -> None:
    ledger(outcome(), reading(usage=usage))

    assert 0 < sums_by_decision(ledger, spend)["escalated"].usd < 1


def test_a_model_without_a_price_is_never_free(ledger: Ledger, spend: SpendLog) -> None:
    """It costs what unknown models do, and that is counted apart."""
    ledger(outcome(request(model="no-such-model")), reading(model="nor-this"))

    sums = sums_by_decision(ledger, spend)["escalated"]
    assert (sums.usd, sums.unknown_usd, sums.unpriced) == (20.0, 20.0, 1)


def test_a_name_without_a_price_costs_what_the_answering_model_does(ledger: Ledger, spend: SpendLog) -> None:
    ledger(outcome(request(model="my-deployment")), reading())

    sums = sums_by_decision(ledger, spend)["escalated"]
    assert (sums.usd, sums.unknown_usd, sums.unpriced) == (2.0, 0.0, 1)


def test_an_answer_costs_what_its_teacher_takes_and_a_draft_saves_what_the_first_would() -> None:
    own = {
        "giant@first": Price(input_usd_per_mtok=1000.0, output_usd_per_mtok=0.0),
        "*@second": Price(input_usd_per_mtok=0.0, output_usd_per_mtok=0.0),
    }
    pricer = Pricer(PriceTable(own), TokenEstimator(), ["first", "second"])

    served = [pricer.find_cost(outcome(served_by=name), reading()).usd for name in ("first", "second")]
    local = pricer.find_cost(outcome(decision="local"), reading())

    assert served == [1.0, 0.0]
    assert local.counterfactual_usd == pytest.approx(1.0, rel=0.1)


def test_refused_requests_cost_nothing(ledger: Ledger, spend: SpendLog) -> None:
    ledger(outcome(status=429), reading(text=None, usage=None))

    assert sums_by_decision(ledger, spend) == {}


def test_an_error_with_status_200_costs_nothing(ledger: Ledger, spend: SpendLog) -> None:
    """Aggregators answer so when the model behind them failed; what was written before is still paid."""
    ledger(outcome(), reading(text=None, status="failed", usage=None, written_bytes=0))
    assert sums_by_decision(ledger, spend)["escalated"].usd == 0.0

    ledger(outcome(), reading(text=None, status="failed", usage=None, written_bytes=400))
    assert sums_by_decision(ledger, spend)["escalated"].usd > 0.0


def test_the_sums_of_two_workers_count_once_each(
    ledger: Ledger, spend: SpendLog, prices: PriceTable, path: Path
) -> None:
    database = Database(path)
    other = create_ledger(prices, database, lambda: NOON)
    for each in (ledger, other):
        each(outcome(), reading(usage=Usage(1000, 0)))
        each.flush()
        each.flush()

    assert spend.totals().usd == 2.0
    database.close()


def test_a_failed_flush_keeps_the_sums(
    ledger: Ledger, spend: SpendLog, break_disk: Callable[[], Callable[[], None]]
) -> None:
    ledger(outcome(), reading(usage=Usage(1000, 0)))
    mend = break_disk()
    with pytest.raises(sqlite3.OperationalError):
        ledger.flush()
    ledger(outcome(), reading(usage=Usage(1000, 0)))
    mend()

    assert sums_by_decision(ledger, spend)["escalated"].usd == 2.0


def test_a_row_says_whose_request_it_was_and_what_it_took(ledger: Ledger, database: Database) -> None:
    asked = request(model="my-deployment", tenant="acme", caller="key-7", id="req-9")
    usage = Usage(1000, 100, 400, reasoning_tokens=60, web_searches=2)
    ledger(outcome(asked), reading(usage=usage, service_tier="flex"))
    ledger.flush()

    (row,) = DecisionLog(lambda: database).iterate()
    assert (row.request_id, row.tenant, row.key, row.policy, row.task) == (
        "req-9",
        "acme",
        "key-7",
        "default",
        "cards",
    )
    assert (row.requested, row.model, row.tier, row.source, row.price) == (
        "my-deployment", "giant", "flex", "reported", "alias",
    )  # fmt: skip
    assert (row.prompt_tokens, row.completion_tokens, row.cached_tokens, row.reasoning_tokens) == (
        1000,
        100,
        400,
        60,
    )
    assert row.other_units == '{"web_searches":2}'


def test_a_client_that_left_is_booked_as_far_as_it_was_answered(ledger: Ledger, spend: SpendLog) -> None:
    """Before the first byte the teacher has read its prompt."""
    ledger(outcome(status=499), reading(text=None, usage=None, written_bytes=0))
    ledger(outcome(is_complete=False), reading(text=None, usage=None, written_bytes=4000, is_complete=False))

    sums = sums_by_decision(ledger, spend)["escalated"]
    assert (sums.requests, sums.estimated) == (2, 2)
    assert (sums.prompt_tokens, sums.completion_tokens) == (22, 1000)


def test_a_local_answers_worth_is_net_of_the_teachers_prompt_cache(ledger: Ledger, spend: SpendLog) -> None:
    """With 1,920 of 2,111 prompt tokens cached, savings were once five times too high."""
    for _ in range(5):
        ledger(outcome(), reading(usage=Usage(2111, 3, 1920)))

    ledger(outcome(decision="local", draft=DRAFT), reading())

    sums = sums_by_decision(ledger, spend)
    assert sums["local"].cached_tokens == pytest.approx(1920, rel=0.01)
    assert sums["local"].counterfactual_usd == pytest.approx(sums["escalated"].usd / 5, rel=0.01)


@given(
    st.lists(st.tuples(st.sampled_from(DECISIONS), st.integers(0, 5000), st.integers(0, 500), st.booleans()))
)
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_the_parts_add_up_to_the_total(
    prices: PriceTable, events: list[tuple[Decision, int, int, bool]]
) -> None:
    """Rows, accounts and this process' sums are the same money, whoever answered and whatever was wasted."""
    with tempfile.TemporaryDirectory() as folder:
        database = Database(Path(folder) / "state.db")
        ledger = create_ledger(prices, database, lambda: NOON)
        for decision, prompt, completion, is_hedged in events:
            facts = {"decision": decision, "is_hedged": is_hedged, "would_serve": is_hedged}
            ledger(outcome(**facts), reading(usage=Usage(prompt, completion)))
        ledger.flush()
        rows, accounts = list(DecisionLog(lambda: database).iterate()), SpendLog(database).entries()
        database.close()
    total = sum((sums for _, sums in accounts), start=Sums())
    by_decision = {name: [row for row in rows if row.decision == name] for name in DECISIONS}
    assert sum(row.usd for row in rows) == pytest.approx(total.usd) == pytest.approx(ledger.spent_usd)
    assert sum(row.counterfactual_usd for row in rows) - total.usd == pytest.approx(ledger.saved_usd)
    assert sum(row.usd for row in by_decision["local"]) == pytest.approx(total.hedge_usd)
    assert sum(sum(row.usd for row in part) for part in by_decision.values()) == pytest.approx(total.usd)
    assert total.requests == len(events)


def test_a_full_disk_never_fills_the_memory(
    prices: PriceTable, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.store.decision_log.MOST_WAITING", 10)
    decisions = DecisionLog(lambda: database)
    ledger = create_ledger(prices, database, lambda: NOON, decisions)
    for _ in range(25):
        ledger(outcome(), reading())

    assert (decisions.dropped, decisions.waiting, ledger.spent_usd) == (15, 10, 50.0)


def test_invented_models_fill_no_table(
    ledger: Ledger, spend: SpendLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.finops.ledger.MOST_MODELS", 10)
    for number in range(25):
        ledger(outcome(request(model=f"invented-{number}")), reading(model=""))
    ledger.flush()

    models = {account.model: sums.requests for account, sums in spend.entries()}
    assert (len(models), models["other"]) == (11, 15)


@pytest.fixture
def break_disk(path: Path) -> Callable[[], Callable[[], None]]:
    """Make every write to the accounts fail until the function it returns is called."""

    def rename(old: str, new: str) -> None:
        connection = sqlite3.connect(path)
        connection.execute(f"ALTER TABLE {old} RENAME TO {new}")
        connection.close()

    def break_it() -> Callable[[], None]:
        rename("daily_costs", "gone")
        return lambda: rename("gone", "daily_costs")

    return break_it


def test_a_spoken_answer_that_was_broken_off_is_priced_as_sound() -> None:
    own = Price(input_usd_per_mtok=0.0, output_usd_per_mtok=10.0, audio_output=1_000_000.0)
    pricer = Pricer(PriceTable({"giant": own}), TokenEstimator())
    spoken = outcome(request(surface="responses"), sound_tokens=40, is_complete=False)

    cost = pricer.find_cost(spoken, reading(text=None, usage=None, written_bytes=0))

    assert cost.usd == pytest.approx(40)
    assert cost.usage.is_estimated
    assert pricer.find_cost(spoken, reading()).usage.audio_output_tokens == 0, "what is reported counts"
