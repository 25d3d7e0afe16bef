"""Budgets: money is set aside before a request, settled after it, and never quietly overrun."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from gateway.core import Budget, Limits, Period, Request, Usage
from gateway.errors import BudgetSpentError
from gateway.finops.budgets import Budgets
from gateway.finops.prices import Price, PriceTable
from gateway.finops.tokens import TokenEstimator
from gateway.policy.key_limits import KeyLimits
from gateway.store.keys import KeyFacts
from gateway.store.shared_counters import Counters, create_counters
from gateway.store.shared_spend import SharedSpend
from tests.support.builders import NOON, request

DAILY = Budget("policy p", "day", 1.0, "p")
PRICES = {"giant": Price(input_usd_per_mtok=0.0, output_usd_per_mtok=1000.0)}
"""A completion token costs a tenth of a cent."""


def create_budgets(
    path: Path | None = None, number: int = 0, tokens: TokenEstimator | None = None
) -> Budgets:
    counters = Counters(path, number)
    periods: tuple[Period, ...] = ("day", "month")
    spend = {period: SharedSpend(counters, period, lambda: NOON) for period in periods}
    return Budgets(spend, PriceTable(PRICES), tokens or TokenEstimator(), clock=lambda: NOON)


def asking(max_tokens: int | None = None, model: str = "giant", **more: object) -> Request:
    return request(model=model, body=b'{"max_tokens": %d}' % max_tokens if max_tokens else b"{}", **more)


async def test_what_would_not_fit_is_refused_before_it_is_asked() -> None:
    budgets = create_budgets()
    first = await budgets.reserve(asking(600), (DAILY,))

    with pytest.raises(BudgetSpentError, match="policy 'p' for this day"):
        await budgets.reserve(asking(600), (DAILY,))
    budgets.settle(first, 0.1)

    assert await budgets.reserve(asking(600), (DAILY,)) is not None
    assert budgets.spent(DAILY) == pytest.approx(0.1)
    assert budgets.left(DAILY) == pytest.approx(0.3)


async def test_a_refused_request_sets_nothing_aside() -> None:
    """Not in the budget that it would have fitted into either."""
    budgets = create_budgets()
    monthly = Budget("policy p", "month", 0.5, "p")

    with pytest.raises(BudgetSpentError, match="month"):
        await budgets.reserve(asking(600), (DAILY, monthly))

    assert (budgets.left(DAILY), budgets.left(monthly)) == (1.0, 0.5)


async def test_a_request_that_fits_neither_day_nor_month_is_told_of_the_month() -> None:
    budgets = create_budgets()
    monthly = Budget("policy p", "month", 0.5, "p")

    with pytest.raises(BudgetSpentError, match=r"for this month .* begins anew at 2023-12-01"):
        await budgets.reserve(asking(1_200), (DAILY, monthly))


async def test_without_a_limit_the_longest_answer_so_far_is_set_aside() -> None:
    """At first 1,000 tokens."""
    tokens = TokenEstimator()
    budgets = create_budgets(tokens=tokens)
    first = budgets.estimate_cost(asking())
    for length in range(1, 101):
        tokens.learn(asking(), 0, Usage(10, length))

    assert (first, budgets.estimate_cost(asking())) == ((1.0, True), (0.1, True))


@pytest.mark.parametrize(
    ("body", "usd"),
    [
        (b'{"max_completion_tokens": 50, "max_tokens": 10}', 0.05),
        (b'{"max_output_tokens": 50}', 0.05),
        (b'{"max_tokens": 50, "n": 3}', 0.15),
        (b'{"max_tokens": "odd"}', 1.0),
    ],
)
def test_the_limits_of_every_api_are_read(body: bytes, usd: float) -> None:
    assert create_budgets().estimate_cost(request(body=body))[0] == pytest.approx(usd)


async def test_an_unknown_price_is_tried_alone_and_never_beside_others() -> None:
    """It is no bound; what it costs shows its answer."""
    budgets = create_budgets()
    guess = await budgets.reserve(asking(5_000, model="my-llm"), (DAILY,))

    for refused in (asking(1), asking(5_000, model="my-llm")):
        with pytest.raises(BudgetSpentError):
            await budgets.reserve(refused, (DAILY,))
    budgets.settle(guess, 0.02)
    assert await budgets.reserve(asking(1), (DAILY,)) is not None


async def test_a_spent_budget_refuses_even_what_is_unknown() -> None:
    budgets = create_budgets()
    budgets.settle(await budgets.reserve(asking(1000), (DAILY,)), 1.0)

    with pytest.raises(BudgetSpentError):
        await budgets.reserve(asking(1, model="my-llm"), (DAILY,))


@pytest.mark.parametrize("at_once", [1, 30, 300])
async def test_many_at_once_never_overrun_what_bounds_them(at_once: int, tmp_path: Path) -> None:
    """Of two workers, each answer as long as it may be; what fits is let in."""
    create_counters(tmp_path / "counters", 2)
    workers = [create_budgets(tmp_path / "counters", number) for number in (0, 1)]
    accepted = 0

    async def ask(number: int) -> None:
        nonlocal accepted
        worker = workers[number % 2]
        try:
            reservation = await worker.reserve(asking(7), (DAILY,))
        except BudgetSpentError:
            return
        await asyncio.sleep(0)
        worker.settle(reservation, 0.007)
        accepted += 1

    for _ in range(900 // at_once):
        await asyncio.gather(*(ask(number) for number in range(at_once)))

    assert accepted == 142
    assert workers[0].spent(DAILY) == pytest.approx(0.994)
    assert workers[0].overrun_usd == workers[1].overrun_usd == 0.0


async def test_what_answers_take_beyond_is_counted() -> None:
    budgets = create_budgets()
    reservations = [await budgets.reserve(asking(400), (DAILY,)) for _ in range(2)]
    for reservation in reservations:
        budgets.settle(reservation, 0.6)

    assert budgets.spent(DAILY) == pytest.approx(1.2)
    assert budgets.overrun_usd == pytest.approx(0.2)


async def test_a_warning_comes_once_when_a_share_is_spent(caplog: pytest.LogCaptureFixture) -> None:
    budgets = create_budgets()
    with caplog.at_level(logging.WARNING):
        for usd in (0.5, 0.3, 0.1):
            budgets.settle(await budgets.reserve(asking(10), (DAILY,)), usd)

    assert [record.getMessage() for record in caplog.records] == [
        "policy 'p' has spent $0.8 of its $1 this day (UTC)"
    ]


async def test_what_the_disk_knows_is_spent() -> None:
    budgets = create_budgets()
    budgets.raise_spent(DAILY, 0.95)
    budgets.raise_spent(DAILY, 0.5)

    assert budgets.spent(DAILY) == 0.95
    with pytest.raises(BudgetSpentError):
        await budgets.reserve(asking(100), (DAILY,))


async def test_the_dollars_of_a_key_are_set_aside_like_those_of_a_policy() -> None:
    """Settled once: where the key's other limits are."""
    limits = KeyLimits(Counters(None), wall_clock=lambda: NOON)
    shop = KeyFacts(id="key-1", name="shop", tenant="shop", created_at=0.0, limits=Limits(usd_per_day=1.0))
    limits.admit(shop, 0)
    budgets = Budgets(
        limits.spend, PriceTable(PRICES), TokenEstimator(), limits.list_budgets, clock=lambda: NOON
    )
    first = await budgets.reserve(asking(600, key_id="key-1"), ())

    with pytest.raises(BudgetSpentError, match="of key"):
        await budgets.reserve(asking(600, key_id="key-1"), ())
    budgets.settle(first, 0.2)
    limits.settle("key-1", reserved_tokens=0, tokens=200, usd=0.2)

    assert limits.spend["day"].spent("key-1") == pytest.approx(0.2)
    assert limits.spend["day"].reserved("key-1") == 0.0
    assert await budgets.reserve(asking(600, key_id="key-2"), ()) is None
