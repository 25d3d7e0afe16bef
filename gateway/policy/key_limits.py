"""The limits of gateway keys: what may begin now, and what is left."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from gateway.config.durations import format_duration
from gateway.core import Budget, Limits, Period, Request
from gateway.errors import BudgetSpentError, RateLimitedError
from gateway.policy.key_meters import KeyMeters, KeyUse, RateHeaders
from gateway.sharing.lease_keeper import LeaseKeeper
from gateway.sharing.leased_spend import FleetSpend
from gateway.store.keys import KeyFacts
from gateway.store.shared_counters import Counters
from gateway.store.shared_spend import SharedSpend

logger = logging.getLogger(__name__)

MOST_KEYS = 20_000
PERIODS: tuple[Period, ...] = ("day", "month")


class KeyLimits:
    """Admits requests of keys within their limits, over all workers of a machine.

    Requests begin and end in one thread; tokens and dollars may be settled in another. `clock` is in
    monotonic seconds, `wall_clock` in unix seconds.
    """

    def __init__(
        self,
        counters: Counters,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        keeper: LeaseKeeper | None = None,
    ) -> None:
        """`keeper` keeps the leases of limits that several machines share."""
        self.keeper = keeper
        self._counters = counters
        self._clock = clock
        self._wall_clock = wall_clock
        self.spend: dict[Period, SharedSpend] = {
            period: FleetSpend(counters, period, keeper, wall_clock)
            if keeper
            else SharedSpend(counters, period, wall_clock)
            for period in PERIODS
        }
        self._meters: dict[str, tuple[Limits, KeyMeters]] = {}

    def lacks_lease(self, key: KeyFacts, tokens: float) -> bool:
        """Whether `take_leases` must be waited for before `admit`: never where one machine is all."""
        if self.keeper is None or key.limits == _NONE:
            return False
        return self._find_meters(key).lacks_lease(tokens, self._clock())

    async def take_leases(self, key: KeyFacts, tokens: float) -> None:
        """Let this machine have what one request of about `tokens` tokens takes of its key's limits."""
        if self.keeper is not None:
            meters = self._find_meters(key)
            await self.keeper.take(meters.turn, lambda: meters.find_needs(tokens, self._clock()))

    def admit(self, key: KeyFacts, tokens: float, *, may_cost: bool = True) -> Admission | None:
        """Count one request of about `tokens` tokens and return it, to be closed; None without any limit.

        Raises RateLimitedError or BudgetSpentError, and has then counted nothing.
        """
        if key.limits == _NONE:
            return None
        if may_cost:
            self._check_budgets(key)
        meters = self._find_meters(key)
        now = self._clock()
        with meters.lock:
            refusal = meters.take(tokens, now)
        if refusal:
            raise _refuse(key, refusal, meters.headers(now))
        return Admission(meters, meters.count_tokens(tokens), self._clock)

    def follow(self, key: KeyFacts) -> None:
        """Hold what `key` has under way to its limits of now, too."""
        self._find_meters(key)

    def settle(self, key_id: str, *, reserved_tokens: float, tokens: float, usd: float) -> None:
        """Book what an answer really took, where `reserved_tokens` were taken for it."""
        known = self._meters.get(key_id)
        if known is None:
            # Only keys with limits are admitted here.
            return
        limits, meters = known
        if meters.tokens and tokens != reserved_tokens:
            with meters.lock:
                meters.charge_tokens(tokens - reserved_tokens, self._clock())
        for period, limit in _budgets(limits):
            settled = self.spend[period].settle(key_id, 0.0, usd)
            warn_at = limit * limits.warn_share
            if settled - usd < warn_at <= settled:
                logger.warning(
                    "key '%s' has spent $%.2f of its $%.2f this %s (UTC)",
                    meters.key.name,
                    settled,
                    limit,
                    period,
                )

    def report_use(self, key: KeyFacts) -> list[KeyUse]:
        """Return each limit of a key with what is used of it now."""
        meters, now = self._find_meters(key), self._clock()
        uses = meters.report_use(now)
        for period, limit in _budgets(key.limits):
            spend = self.spend[period]
            resets_s = spend.ends_at() - self._wall_clock()
            uses.append(
                KeyUse(f"$ a {period}", limit, spend.spent(key.id) + spend.reserved(key.id), resets_s)
            )
        return uses

    def list_budgets(self, request: Request) -> tuple[Budget, ...]:
        """Return the budgets of the key that `request` came with."""
        known = self._meters.get(request.key_id)
        if known is None:
            return ()
        # No policy's name: `settle` books what was paid, and warns.
        return tuple(Budget(request.key_id, period, usd, "") for period, usd in _budgets(known[0]))

    def _check_budgets(self, key: KeyFacts) -> None:
        for period, limit in _budgets(key.limits):
            spend = self.spend[period]
            if spend.spent(key.id) + spend.reserved(key.id) >= limit:
                raise BudgetSpentError(
                    f"the budget of key '{key.name}' for this {period} (UTC)",
                    resets_at=spend.ends_at(),
                    now=self._wall_clock(),
                )

    def _find_meters(self, key: KeyFacts) -> KeyMeters:
        known = self._meters.get(key.id)
        if known is not None and known[0] == key.limits:
            return known[1]
        if len(self._meters) >= MOST_KEYS:
            self._meters.clear()
        meters = KeyMeters(self._counters, key, self.keeper.office if self.keeper else None, self._clock)
        self._meters[key.id] = (key.limits, meters)
        return meters


class Admission:
    """One request that was counted; `close` it when its answer has been sent."""

    def __init__(self, meters: KeyMeters, tokens: float, clock: Callable[[], float]) -> None:
        self._meters = meters
        self._clock = clock
        self._is_open = True
        self.tokens = tokens
        """Taken for it so far; 0 for a key without a limit on tokens."""

    @property
    def counts_tokens(self) -> bool:
        """Whether the key has a limit on tokens."""
        return self._meters.tokens is not None

    def take_tokens(self, extra: float) -> None:
        """Take `extra` tokens more. Raises RateLimitedError if they do not fit."""
        if self._meters.tokens is None or extra <= 0:
            return
        now = self._clock()
        with self._meters.lock:
            wait_s = self._meters.tokens.take(extra, now, may_owe=True)
        if wait_s:
            raise _refuse(self._meters.key, ("tokens", wait_s), self._meters.headers(now))
        self.tokens += self._meters.count_tokens(extra)

    def give_back_tokens(self) -> None:
        """Give back the tokens of a request that reached no teacher."""
        if self.tokens:
            with self._meters.lock:
                self._meters.charge_tokens(-self.tokens, self._clock())
            self.tokens = 0

    def headers(self) -> RateHeaders:
        """Return OpenAI's headers about what is left of requests and tokens."""
        return self._meters.headers(self._clock())

    def close(self) -> None:
        """Count the request as ended; later calls do nothing."""
        if self._is_open:
            self._is_open = False
            self._meters.leave()


_NONE = Limits()


def _budgets(limits: Limits) -> list[tuple[Period, float]]:
    named: tuple[tuple[Period, float | None], ...] = (
        ("day", limits.usd_per_day),
        ("month", limits.usd_per_month),
    )
    return [(period, limit) for period, limit in named if limit is not None]


def _refuse(key: KeyFacts, refusal: tuple[str, float], headers: RateHeaders) -> RateLimitedError:
    what, wait_s = refusal
    limits = key.limits
    allowed, unit = {
        "requests": (limits.requests_per_minute, "requests per min"),
        "tokens": (limits.tokens_per_minute, "tokens per min"),
        "concurrent requests": (limits.concurrent_requests, "requests at a time"),
    }[what]
    advice = f"Please try again in {format_duration(wait_s)}."
    if not allowed:
        # The official clients would wait a minute and ask again, twice, for nothing.
        advice = "It lets nothing through."
        headers = (*headers, (b"x-should-retry", b"false"))
    return RateLimitedError(
        f"Rate limit reached for key '{key.name}' on {unit}: Limit {allowed}. {advice}",
        retry_after_s=wait_s,
        kind="tokens" if what == "tokens" else "requests",
        headers=headers,
    )
