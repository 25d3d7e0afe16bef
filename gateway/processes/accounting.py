"""The money of a worker: prices, ledger and budgets, put together."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence

from gateway.core import Budget, Cost, Outcome, Reading
from gateway.finops.budgets import Budgets
from gateway.finops.later_usage import LaterUsage
from gateway.finops.ledger import Ledger
from gateway.finops.periods import name_day
from gateway.finops.prices import PriceTable
from gateway.finops.pricing import Pricer
from gateway.finops.tokens import TokenEstimator
from gateway.policy.key_limits import KeyLimits
from gateway.policy.prepared import list_budgets
from gateway.policy.schema import Policy
from gateway.settings import Settings
from gateway.store.state import State
from gateway.telemetry.costs import BudgetLeft
from gateway.telemetry.metrics import Probe
from gateway.telemetry.outcome_queue import OutcomeQueue
from gateway.wire.surfaces import read_outcome

_MONTH_CHARS = len("2026-11")
# A month of many accounts takes milliseconds to add up, per policy with a budget.
RAISE_EVERY_S = 5.0


class Accounting:
    """What the parts of a worker ask about money."""

    def __init__(
        self, settings: Settings, state: State, policies: Sequence[Policy], key_limits: KeyLimits
    ) -> None:
        self.tokens = TokenEstimator()
        prices = PriceTable(settings.prices, settings.costs.unknown_price)
        self._pricer = Pricer(prices, self.tokens, [one.name for one in settings.teachers])
        later = LaterUsage(self._pricer, state.awaited_usage)
        self.ledger = Ledger(self._pricer, state.spend, state.decisions, later, settle=self._settle)
        self._decisions = state.decisions
        self.budgets = Budgets(key_limits.spend, prices, self.tokens, key_limits.list_budgets)
        self._key_limits = key_limits
        self._spend = state.spend
        self._next_raise = 0.0
        self._policies = [policy for policy in policies if list_budgets(policy, "")]

    def read_outcome(self, outcome: Outcome) -> Reading:
        """Return what the answer of `outcome` says and cost; never raises."""
        return self._pricer.add_cost(outcome, read_outcome(outcome))

    def create_observer(self, queue: OutcomeQueue) -> Callable[[Outcome], object]:
        """Return the way into `queue`, with an end for what was set aside for an outcome that it drops."""

        def observe(outcome: Outcome) -> None:
            is_kept = queue.put(outcome)
            if outcome.reservation is None and not outcome.request.reserved_tokens:
                return
            if is_kept:
                # The next request may need what this one did not use.
                queue.hurry()
            elif outcome.reservation is not None:
                # It will never be priced: what was set aside is the best that is known of its cost.
                self.budgets.settle(outcome.reservation, outcome.reservation.usd)

        return observe

    def refresh(self) -> None:
        """Write the sums, and let budgets know what the disk does; may block."""
        self.ledger.flush_sums()
        now = time.monotonic()
        if now < self._next_raise:
            return
        self._next_raise = now + RAISE_EVERY_S
        # Restarts forget nothing, and usage that came later is counted, too.
        for budget, usd in self._list_spent():
            self.budgets.raise_spent(budget, usd)

    def write_last_sums(self) -> int:
        """Write the sums before the process ends; return how many the disk did not take. May block."""
        with contextlib.suppress(sqlite3.Error):
            self.ledger.flush_sums()
        return self.ledger.waiting

    def list_left(self) -> list[BudgetLeft]:
        """Return what is left of each budget that was spent from; may block."""
        try:
            spent = {budget for budget, _ in self._list_spent()}
        except sqlite3.Error:
            return []
        shared = {
            budget for policy in self._policies for budget in list_budgets(policy, "")
            if policy.budget_per == "policy"
        }  # fmt: skip
        return [
            BudgetLeft(
                budget.name.removeprefix("policy "), budget.period, budget.usd, self.budgets.left(budget)
            )
            for budget in sorted(spent | shared, key=lambda each: (each.name, each.period))
        ]

    def list_probes(self) -> list[Probe]:
        """Return the numbers that metrics show."""
        ledger = self.ledger
        return [
            Probe("accounts_waiting", "Sums of dollars not yet written.", lambda: ledger.waiting),
            Probe("decisions_waiting", "Decision records not yet written.", lambda: self._decisions.waiting),
            Probe(
                "decisions_oldest_wait_seconds",
                "How long the oldest decision record has waited for the disk.",
                lambda: self._decisions.oldest_wait_s,
            ),
            Probe("spent_usd_total", "Dollars paid to the teacher.", lambda: ledger.spent_usd),
            Probe("saved_usd_total", "Dollars that local answers saved.", lambda: ledger.saved_usd),
            Probe(
                "ledger_rows_dropped_total",
                "Decision records, and with them rows of the ledger, lost to a full disk.",
                lambda: self._decisions.dropped,
            ),
            Probe(
                "budget_overrun_usd_total",
                "Dollars spent above budgets, because answers took more than was set aside.",
                lambda: self.budgets.overrun_usd,
            ),
        ]

    def _settle(self, outcome: Outcome, cost: Cost) -> None:
        """Book what a request took in its budgets and in the limits of its key."""
        request, usd = outcome.request, cost.usd
        tokens = cost.usage.prompt_tokens + cost.usage.completion_tokens
        if outcome.reservation is not None:
            self.budgets.settle(outcome.reservation, usd)
        if request.key_id:
            self._key_limits.settle(
                request.key_id, reserved_tokens=request.reserved_tokens, tokens=tokens, usd=usd
            )

    def _list_spent(self) -> Iterator[tuple[Budget, float]]:
        if not self._policies:
            return
        today = name_day(time.time())
        for period, since in (("day", today), ("month", today[:_MONTH_CHARS])):
            for policy in self._policies:
                owners = self._spend.usd_by_owner(since, policy.name, policy.budget_per)
                for owner, usd in owners.items():
                    for budget in list_budgets(policy, owner):
                        if budget.period == period:
                            yield budget, usd
