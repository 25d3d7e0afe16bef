"""The account of every request: what it cost, and what it would have cost without specialists."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache

from gateway.core import Outcome, Reading, Request, Usage
from gateway.finops.prices import PriceTable
from gateway.finops.tokens import TokenEstimator
from gateway.store.spend import Account, SpendLog, Sums

# More tokens than this in one answer is nonsense of a broken teacher, not a bill.
MAX_TOKENS = 100_000_000
DAY_S = 86_400


class Ledger:
    """An observer that adds up dollars. Observing may block; asking for sums never does.

    A local answer costs nothing and would have cost what the teacher takes for it; an audit
    costs what the teacher took, like any escalation. `spent_usd` and `saved_usd` are this
    process' sums since its start. `settle` gets each request with the tokens and dollars that it took.
    """

    def __init__(
        self,
        prices: PriceTable,
        spend: SpendLog,
        tokens: TokenEstimator,
        settle: Callable[[Request, float, float], None] = lambda *_: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.spent_usd = 0.0
        self.saved_usd = 0.0
        self._prices = prices
        self._spend = spend
        self._tokens = tokens
        self._settle = settle
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting: dict[Account, Sums] = {}
        self._today = _day(clock())
        self._spent_today: dict[str, float] = {}
        self.refresh()

    def __call__(self, outcome: Outcome, reading: Reading) -> None:
        """Enter one request."""
        if outcome.status >= 400:
            # A refused request is not billed.
            self._settle(outcome.request, 0.0, 0.0)
            return
        usage = self._usage(outcome, reading)
        account = Account(
            day=_day(outcome.at),
            policy=outcome.plan.policy,
            task=outcome.route.task if outcome.route else "",
            model=outcome.request.model,
            decision=outcome.decision,
        )
        sums = self._sums(outcome, usage)
        self._settle(outcome.request, usage.prompt_tokens + usage.completion_tokens, sums.usd)
        with self._lock:
            waiting = self._waiting.get(account)
            self._waiting[account] = sums if waiting is None else waiting + sums
            if account.day == self._today:
                self._add_today(account.policy, sums.usd)
        self.spent_usd += sums.usd
        self.saved_usd += sums.counterfactual_usd - sums.usd

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

    def refresh(self) -> None:
        """Flush, then see what the other workers spent; may block."""
        self.flush()
        today = _day(self._clock())
        spent = self._spend.usd_by_policy(today)
        with self._lock:
            self._today, self._spent_today = today, spent
            for account, sums in self._waiting.items():
                if account.day == today:
                    self._add_today(account.policy, sums.usd)

    def _add_today(self, policy: str, usd: float) -> None:
        self._spent_today[policy] = self._spent_today.get(policy, 0.0) + usd

    def _usage(self, outcome: Outcome, reading: Reading) -> Usage:
        """Return the tokens that the teacher took, or would have taken."""
        reported = reading.usage
        is_teachers = outcome.decision != "local"
        if is_teachers and reported is not None and _is_plausible(reported):
            # What specialists never see (tools, images) is in the tokens but not in the text.
            if reading.text and not outcome.request.unsupported_reason:
                self._tokens.learn(outcome.request, reading.text, reported)
            return reported
        if outcome.request.surface == "other":
            # Nothing of it was read: to estimate would be to invent.
            return Usage(0, 0)
        return self._tokens.estimate(outcome.request, reading.text or "")

    def _sums(self, outcome: Outcome, usage: Usage) -> Sums:
        price = self._prices.price(outcome.request.model)
        worth = price.cost(usage) if price is not None else 0.0
        is_local = outcome.decision == "local"
        # A teacher asked beside the draft and broken off has read the prompt.
        wasted = price.cost(Usage(usage.prompt_tokens, 0)) if price and outcome.is_hedged else 0.0
        return Sums(
            requests=1,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            usd=wasted if is_local else worth,
            counterfactual_usd=worth,
            would_save_usd=worth if outcome.would_serve and not is_local else 0.0,
            estimated=int(usage.is_estimated),
            unpriced=int(price is None and usage != Usage(0, 0)),
        )


def _is_plausible(usage: Usage) -> bool:
    tokens = (usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens)
    return min(tokens) >= 0 and max(tokens) <= MAX_TOKENS


def _day(at: float) -> str:
    return _name_of_day(int(at // DAY_S))


@lru_cache(maxsize=8)
def _name_of_day(number: int) -> str:
    """Return the date of a day counted from 1970-01-01, as 2026-11-24."""
    return datetime.fromtimestamp(number * DAY_S, UTC).date().isoformat()
