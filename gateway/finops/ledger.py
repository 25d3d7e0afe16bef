"""The account of every request: a record of its own, and the sums of its day."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache

from gateway.core import Cost, Outcome, Reading
from gateway.finops.later_usage import LaterUsage
from gateway.finops.pricing import Pricer
from gateway.finops.recording import DecisionRecorder, later_record
from gateway.store.decision_log import DecisionLog
from gateway.store.ledger_row import LedgerRow
from gateway.store.spend import Account, SpendLog, Sums

DAY_S = 86_400
REFUSED = 400
"""Statuses from here on: nothing was done, unless the client left."""
# Clients and servers can name any model: later ones of a day are summed as one.
MOST_MODELS = 1_000
OTHER_MODELS = "other"


class Ledger:
    """An observer that adds up dollars; observing may block.

    A local answer costs nothing and would have cost what the teacher takes for it; an audit
    costs what the teacher took, like any escalation. `spent_usd` and `saved_usd` are this
    process' sums since its start. `settle` gets each request with the tokens and dollars that it took.
    """

    def __init__(
        self,
        pricer: Pricer,
        spend: SpendLog,
        decisions: DecisionLog,
        later: LaterUsage,
        *,
        settle: Callable[[Outcome, Cost], None] = lambda *_: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.spent_usd = 0.0
        self.saved_usd = 0.0
        self._pricer = pricer
        self._spend = spend
        self._decisions = decisions
        self._recorder = DecisionRecorder()
        self._later = later
        self._settle = settle
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting: dict[Account, Sums] = {}
        self._models: set[str] = set()
        self._today = _day(clock())

    def __call__(self, outcome: Outcome, reading: Reading) -> None:
        """Enter one request, or what the teacher says later of an earlier one."""
        cost = reading.cost or self._pricer.find_cost(outcome, reading)
        self._settle(outcome, cost)
        is_booked = cost.is_billed or outcome.status < REFUSED
        record = self._recorder.create_record(outcome, cost, is_booked=is_booked)
        self._decisions.put(record)
        if is_booked:
            self._enter(record.row)
        if cost.is_billed:
            return
        if owner := self._later.settle(outcome, reading):
            for later_cost in self._later.costs_of(owner, outcome, reading):
                later = later_record(owner, later_cost, outcome.at)
                self._decisions.put(later)
                self._enter(later.row)

    @property
    def waiting(self) -> int:
        """How many accounts hold sums that are not written yet."""
        return len(self._waiting)

    def flush(self) -> None:
        """Write the sums and records that wait. May block; raises sqlite3.Error and keeps what is left."""
        self.flush_sums()
        self._decisions.flush()

    def flush_sums(self) -> None:
        """Write the sums that wait; as `flush`."""
        with self._lock:
            waiting, self._waiting = self._waiting, {}
            if self._today != (today := _day(self._clock())):
                self._today = today
                self._models.clear()
        if not waiting:
            # Even an empty transaction would send every process to read its tables again.
            return
        try:
            self._spend.add(waiting.items())
        except BaseException:
            with self._lock:
                for account, sums in waiting.items():
                    self._waiting[account] = self._waiting.get(account, Sums()) + sums
            raise

    def _enter(self, row: LedgerRow) -> None:
        day = _day(row.at)
        account = row.account(day, self._cap_model(row.model))
        sums = row.sums()
        with self._lock:
            waiting = self._waiting.get(account)
            self._waiting[account] = sums if waiting is None else waiting + sums
        self.spent_usd += sums.usd
        self.saved_usd += sums.counterfactual_usd - sums.usd

    def _cap_model(self, model: str) -> str:
        if model in self._models:
            return model
        if len(self._models) >= MOST_MODELS:
            return OTHER_MODELS
        self._models.add(model)
        return model


def _day(at: float) -> str:
    return _name_of_day(int(at // DAY_S))


@lru_cache(maxsize=8)
def _name_of_day(number: int) -> str:
    """Return the date of a day counted from 1970-01-01, as 2026-11-24."""
    return datetime.fromtimestamp(number * DAY_S, UTC).date().isoformat()
