"""The account of every request: a row of its own, and the sums of its day."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache

import msgspec

from gateway.core import Cost, Outcome, Reading, Usage
from gateway.finops.later_usage import LaterUsage
from gateway.finops.pricing import Pricer
from gateway.store.awaited_usage import AwaitedUsage
from gateway.store.ledger_rows import LedgerRow, LedgerRows
from gateway.store.spend import Account, SpendLog, Sums

DAY_S = 86_400
REFUSED = 400
"""Statuses from here on: nothing was done, unless the client left."""
# While the disk is full, rows wait in memory up to so many (20 MB); the sums of the day lose nothing.
MOST_WAITING_ROWS = 50_000
# Clients and servers can name any model: later ones of a day are summed as one.
MOST_MODELS = 1_000
OTHER_MODELS = "other"
_UNITS_IN_COLUMNS = frozenset(
    {"prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens", "is_estimated"}
)


class Ledger:
    """An observer that adds up dollars. Observing may block; asking for sums never does.

    A local answer costs nothing and would have cost what the teacher takes for it; an audit
    costs what the teacher took, like any escalation. `spent_usd` and `saved_usd` are this
    process' sums since its start. `settle` gets each request with the tokens and dollars that it took.
    """

    def __init__(
        self,
        pricer: Pricer,
        spend: SpendLog,
        rows: LedgerRows,
        later: LaterUsage,
        *,
        settle: Callable[[Outcome, Cost], None] = lambda *_: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.spent_usd = 0.0
        self.saved_usd = 0.0
        self.dropped_rows = 0
        self._pricer = pricer
        self._spend = spend
        self._rows = rows
        self._later = later
        self._settle = settle
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting: dict[Account, Sums] = {}
        self._waiting_rows: deque[LedgerRow] = deque()
        self._models: set[str] = set()
        self._today = _day(clock())
        self._spent_today: dict[str, float] = {}
        self.refresh()

    def __call__(self, outcome: Outcome, reading: Reading) -> None:
        """Enter one request, or what the teacher says later of an earlier one."""
        cost = reading.cost or self._pricer.find_cost(outcome, reading)
        self._settle(outcome, cost)
        if cost.is_billed or outcome.status < REFUSED:
            self._enter(_row_of(outcome, cost))
        if cost.is_billed:
            return
        if owner := self._later.settle(outcome, reading):
            for later_cost in self._later.costs_of(owner, outcome, reading):
                self._enter(_later_row(owner, later_cost, outcome.at))

    def spent_today(self, policy: str) -> float:
        """Return what `policy` has spent this UTC day, in USD: over all workers as of the last refresh."""
        return self._spent_today.get(policy, 0.0) if self._today == _day(self._clock()) else 0.0

    @property
    def waiting(self) -> int:
        """How many accounts hold sums that are not written yet."""
        return len(self._waiting)

    def flush(self) -> None:
        """Write what waits. May block; raises sqlite3.Error and keeps the sums when it cannot."""
        with self._lock:
            waiting, self._waiting = self._waiting, {}
            rows, self._waiting_rows = self._waiting_rows, deque()
        if not waiting:
            # Even an empty transaction would send every process to read its tables again.
            return
        try:
            self._spend.add(waiting.items())
        except BaseException:
            with self._lock:
                for account, sums in waiting.items():
                    self._waiting[account] = self._waiting.get(account, Sums()) + sums
                self._waiting_rows.extendleft(reversed(rows))
            raise
        try:
            self._rows.add(list(rows))
        except sqlite3.Error:
            self.dropped_rows += len(rows)
            raise

    def refresh(self) -> None:
        """Flush, then see what the other workers spent; may block."""
        self.flush()
        today = _day(self._clock())
        spent = self._spend.usd_by_policy(today)
        with self._lock:
            if today != self._today:
                self._models.clear()
            self._today, self._spent_today = today, spent
            for account, sums in self._waiting.items():
                if account.day == today:
                    self._add_today(account.policy, sums.usd)

    def _enter(self, row: LedgerRow) -> None:
        day = _day(row.at)
        account = row.account(day, self._cap_model(row.model))
        sums = row.sums()
        with self._lock:
            waiting = self._waiting.get(account)
            self._waiting[account] = sums if waiting is None else waiting + sums
            self._waiting_rows.append(row)
            if len(self._waiting_rows) > MOST_WAITING_ROWS:
                self._waiting_rows.popleft()
                self.dropped_rows += 1
            if account.day == self._today:
                self._add_today(account.policy, sums.usd)
        self.spent_usd += sums.usd
        self.saved_usd += sums.counterfactual_usd - sums.usd

    def _add_today(self, policy: str, usd: float) -> None:
        self._spent_today[policy] = self._spent_today.get(policy, 0.0) + usd

    def _cap_model(self, model: str) -> str:
        if model in self._models:
            return model
        if len(self._models) >= MOST_MODELS:
            return OTHER_MODELS
        self._models.add(model)
        return model


def _row_of(outcome: Outcome, cost: Cost) -> LedgerRow:
    request, usage = outcome.request, cost.usage
    is_local = outcome.decision == "local"
    endpoint = request.resource.endpoint
    return LedgerRow(
        outcome.at,
        request.id,
        request.tenant,
        request.caller,
        outcome.plan.policy,
        outcome.route.task if outcome.route else "",
        outcome.decision,
        endpoint.path if endpoint else "",
        request.model[:200],
        cost.model[:200],
        cost.tier,
        usage.prompt_tokens,
        usage.completion_tokens,
        usage.cached_tokens,
        usage.reasoning_tokens,
        _other_units(usage),
        cost.usd,
        cost.counterfactual_usd,
        cost.counterfactual_usd if outcome.would_serve and not is_local else 0.0,
        cost.hedge_usd,
        _source(cost),
        _price_kind(cost),
    )


def _source(cost: Cost) -> str:
    if not cost.is_billed:
        return "none"
    return "estimated" if cost.usage.is_estimated else "reported"


def _later_row(owner: AwaitedUsage, cost: Cost, at: float) -> LedgerRow:
    usage = cost.usage
    return LedgerRow(
        at,
        owner.request_id,
        owner.tenant,
        owner.key,
        owner.policy,
        owner.task,
        "bypass",
        owner.endpoint,
        owner.requested[:200],
        cost.model[:200],
        cost.tier,
        usage.prompt_tokens,
        usage.completion_tokens,
        usage.cached_tokens,
        usage.reasoning_tokens,
        _other_units(usage),
        cost.usd,
        cost.counterfactual_usd,
        0.0,
        0.0,
        _source(cost),
        _price_kind(cost),
    )


def _price_kind(cost: Cost) -> str:
    if not cost.is_known:
        return "unknown"
    return "listed" if cost.is_named_known else "alias"


def _other_units(usage: Usage) -> str:
    if usage.is_text and not usage.cache_write_tokens:
        return ""
    units = msgspec.to_builtins(usage)
    return msgspec.json.encode(
        {name: value for name, value in units.items() if value and name not in _UNITS_IN_COLUMNS}
    ).decode()


def _day(at: float) -> str:
    return _name_of_day(int(at // DAY_S))


@lru_cache(maxsize=8)
def _name_of_day(number: int) -> str:
    """Return the date of a day counted from 1970-01-01, as 2026-11-24."""
    return datetime.fromtimestamp(number * DAY_S, UTC).date().isoformat()
