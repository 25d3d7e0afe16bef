"""Budgets under load: never overrun beyond what was promised, and nothing refused that would have fitted."""

from __future__ import annotations

import asyncio
import random
import tempfile
from pathlib import Path
from typing import Any

from gateway.core import Budget, Message, Period, Request
from gateway.errors import BudgetSpentError
from gateway.finops.budgets import Budgets
from gateway.finops.prices import Price, PriceTable
from gateway.finops.tokens import TokenEstimator
from gateway.store.shared_counters import Counters, create_counters
from gateway.store.shared_spend import SharedSpend

LIMITS_USD = (0.05, 1.0, 10.0, 100.0)
AT_ONCE = (1, 30, 300)
WORKERS = 2
NOW = 1_795_521_600.0
PRICES = {"m": Price(input_usd_per_mtok=2.5, output_usd_per_mtok=10.0)}
# Sums of floats: a billionth of a dollar.
ROUNDING = 1e-9


async def measure_budgets(seed: int) -> dict[str, Any]:
    """Return what broke, over all limits and requests at once, with answers that are bounded or not."""
    overruns, refused, worst_excess, asked = 0, 0, 0.0, 0
    prices = PriceTable(PRICES)
    for limit in LIMITS_USD:
        for at_once in AT_ONCE:
            for is_bounded in (True, False):
                case = _Case(limit, is_bounded, prices, random.Random(seed))
                await case.run(at_once)
                asked += case.asked
                refused += case.wrongly_refused
                allowed = case.largest_usd if is_bounded else case.excess_usd + case.largest_usd
                overruns += case.spent - limit > (0.0 if is_bounded else allowed) + ROUNDING
                worst_excess = max(worst_excess, (case.spent - limit) / limit)
    return {
        "budgets: requests asked": asked,
        "budgets: overrun beyond promise": overruns,
        "budgets: refused although they fitted": refused,
        "budgets: largest overrun, share of the limit": round(max(0.0, worst_excess), 4),
    }


class _Case:
    """One limit. Bounded answers say `max_tokens`, the others take what they take."""

    def __init__(self, limit: float, is_bounded: bool, prices: PriceTable, dice: random.Random) -> None:
        self.asked = self.wrongly_refused = 0
        self.largest_usd = self.excess_usd = 0.0
        self._budget = Budget("policy p", "day", limit, "p")
        self._is_bounded = is_bounded
        self._prices = prices
        self._dice = dice
        self._tokens = max(500, int(limit * 100_000 / 60))

    @property
    def spent(self) -> float:
        """What the workers say is spent."""
        return self._workers[0].spent(self._budget)

    async def run(self, at_once: int) -> None:
        """Ask until nothing fits any more, `at_once` at a time."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "counters"
            create_counters(path, WORKERS)
            self._workers = [self._create_worker(path, number) for number in range(WORKERS)]
            while self._workers[0].left(self._budget) > self._budget.usd / 1_000 and self.asked < 6_000:
                before = self.asked
                admitted = await asyncio.gather(*(self._ask(number) for number in range(at_once)))
                if not any(admitted) or self.asked == before:
                    break

    async def _ask(self, number: int) -> bool:
        worker = self._workers[number % WORKERS]
        bound = self._dice.randrange(1, self._tokens)
        request = _request(bound if self._is_bounded else None)
        usd, _ = worker.estimate_cost(request)
        left = worker.left(self._budget)
        self.asked += 1
        try:
            reservation = await worker.reserve(request, (self._budget,))
        except BudgetSpentError:
            self.wrongly_refused += usd <= left - ROUNDING
            return False
        await asyncio.sleep(0)
        paid = usd * self._dice.random() if self._is_bounded else bound * 1e-5
        self.largest_usd = max(self.largest_usd, paid)
        self.excess_usd += max(0.0, paid - usd)
        worker.settle(reservation, paid)
        return True

    def _create_worker(self, path: Path, number: int) -> Budgets:
        counters = Counters(path, number)
        periods: tuple[Period, ...] = ("day", "month")
        spend = {period: SharedSpend(counters, period, lambda: NOW) for period in periods}
        return Budgets(spend, self._prices, TokenEstimator(), clock=lambda: NOW)


def _request(max_tokens: int | None) -> Request:
    body = b'{"max_tokens": %d}' % max_tokens if max_tokens else b"{}"
    facts: dict[str, Any] = {"id": "r", "caller": "k", "target": b"/", "headers": (), "received_at": 0.0}
    message = Message("user", "hello")
    prompt = {"messages": (message,), "template": "t", "contract_hash": "", "template_text": "", "text": ""}
    return Request(**facts, **prompt, body=body, model="m")  # type: ignore[arg-type]
