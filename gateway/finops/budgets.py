"""Budgets over all workers: what a request may cost is set aside first, and settled by what it cost."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping

import msgspec

from gateway.core import Budget, Period, Request, Reservation, Usage
from gateway.errors import BudgetSpentError
from gateway.finops.prices import PriceTable
from gateway.finops.tokens import TokenEstimator
from gateway.store.shared_spend import SharedSpend

logger = logging.getLogger(__name__)

_MOST_CHOICES = 128
ListBudgets = Callable[[Request], tuple[Budget, ...]]
"""Returns the budgets of the key that a request came with."""


class _Limits(msgspec.Struct):
    """The fields of a body that bound what its answer may cost."""

    n: int | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    max_output_tokens: int | None = None
    service_tier: str | None = None


_limits = msgspec.json.Decoder(_Limits)


class Budgets:
    """Sets money aside and settles it. A budget is overrun by what answers took beyond what was set aside.

    `reserve` and `set_aside` are for the event loop, `settle` for any thread. `overrun_usd` is this
    process' sum.
    """

    def __init__(
        self,
        spend: Mapping[Period, SharedSpend],
        prices: PriceTable,
        tokens: TokenEstimator,
        key_budgets: ListBudgets = lambda _: (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.overrun_usd = 0.0
        self._spend = spend
        self._prices = prices
        self._tokens = tokens
        self._key_budgets = key_budgets
        self._clock = clock

    def spent(self, budget: Budget) -> float:
        """Return what is spent of `budget` in its current period."""
        return self._spend[budget.period].spent(budget.name)

    def left(self, budget: Budget) -> float:
        """Return what neither is spent nor set aside."""
        spend = self._spend[budget.period]
        return budget.usd - spend.spent(budget.name) - spend.reserved(budget.name)

    async def reserve(self, request: Request, budgets: tuple[Budget, ...]) -> Reservation | None:
        """Set aside what `request` may cost in each of `budgets` and of its key's; None if there are none.

        Raises BudgetSpentError, with nothing set aside, if it would not fit into one of them.
        """
        budgets += self._key_budgets(request)
        if not budgets:
            return None
        await self.load_prices()
        usd, is_known = self.estimate_cost(request)
        for budget in budgets:
            spend = self._spend[budget.period]
            if spend.needs_lease(budget.name, usd, budget.usd):
                await spend.take_lease(budget.name, usd, budget.usd)
        return self._take_all(request, budgets, usd, is_known=is_known)

    async def load_prices(self) -> None:
        """Return once prices are known, so that `set_aside` does not wait for them."""
        if not self._prices.is_loaded:
            await asyncio.to_thread(self._prices.load)

    def set_aside(self, request: Request, budgets: tuple[Budget, ...]) -> Reservation | None:
        """Do as `reserve`, at once."""
        budgets += self._key_budgets(request)
        if not budgets:
            return None
        usd, is_known = self.estimate_cost(request)
        return self._take_all(request, budgets, usd, is_known=is_known)

    def raise_spent(self, budget: Budget, usd: float) -> None:
        """Let at least `usd` be spent of `budget`: what the ledger on disk knows of its current period."""
        spend = self._spend[budget.period]
        if spend.spent_here(budget.name) < usd:
            spend.raise_to(budget.name, usd)

    def settle(self, reservation: Reservation | None, usd: float) -> None:
        """Replace what was set aside by what was really paid."""
        if reservation is None:
            return
        for budget in reservation.budgets:
            # What a key pays is booked where its other limits are.
            paid = 0.0 if budget.policy == "" else usd
            settled = self._spend[budget.period].settle(budget.name, reservation.usd, paid)
            before = settled - paid
            if paid and settled > budget.usd:
                self.overrun_usd += min(settled - max(before, budget.usd), max(0.0, paid - reservation.usd))
            warn_at = budget.usd * budget.warn_share
            if before < warn_at <= settled:
                logger.warning(
                    "policy '%s' has spent $%.4g of its $%.4g this %s (UTC)",
                    budget.policy,
                    settled,
                    budget.usd,
                    budget.period,
                )

    def estimate_cost(self, request: Request) -> tuple[float, bool]:
        """Return the most that `request` is expected to cost, and whether its model's price is known."""
        limits = _read_limits(request)
        expected = self._tokens.expect(request, 0)
        bound = limits.max_completion_tokens or limits.max_output_tokens or limits.max_tokens
        completion = self._tokens.longest_completion(request) if bound is None else bound
        if request.surface == "embeddings":
            completion = 0
        choices = min(max(limits.n or 1, 1), _MOST_CHOICES)
        tier = limits.service_tier if limits.service_tier in ("flex", "priority") else ""
        usage = Usage(expected.usage.prompt_tokens, completion * choices)
        found = self._prices.find(expected.model, request.model, tier, self._clock())
        return found.prices.cost(usage), found.is_known

    def _take_all(
        self, request: Request, budgets: tuple[Budget, ...], usd: float, *, is_known: bool
    ) -> Reservation:
        taken: list[Budget] = []
        # A key's before its policy's, a month before a day: where both are spent, it says when to come back.
        for budget in reversed(budgets):
            if not self._take(budget, usd, is_known=is_known):
                for each in taken:
                    self._spend[each.period].settle(each.name, usd, 0.0)
                raise self._spent_error(budget, request)
            taken.append(budget)
        return Reservation(usd, budgets)

    def _take(self, budget: Budget, usd: float, *, is_known: bool) -> bool:
        spend = self._spend[budget.period]
        if spend.reserve(budget.name, usd, budget.usd):
            return True
        # A price that is a guess is no bound: alone, such a request shows what its model costs. What it
        # sets aside keeps the others out until then.
        is_first = not is_known and not spend.reserved(budget.name) and spend.spent(budget.name) < budget.usd
        return is_first and spend.reserve(budget.name, usd, budget.usd + usd)

    def _spent_error(self, budget: Budget, request: Request) -> BudgetSpentError:
        owner = f"policy '{budget.policy}'" if budget.policy else f"key '{request.caller}'"
        resets_at = self._spend[budget.period].ends_at()
        return BudgetSpentError(
            f"the budget of {owner} for this {budget.period} (UTC)",
            resets_at=resets_at,
            now=self._clock(),
            policy=budget.policy,
        )


def _read_limits(request: Request) -> _Limits:
    try:
        return _limits.decode(request.content)
    except (ValueError, RecursionError):
        return _Limits(max_tokens=request.max_tokens)
