"""The limits of gateway keys: what may begin now, and what is left."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import msgspec

from gateway.config.durations import format_duration
from gateway.core import Budget, Limits, Period, Request
from gateway.errors import BudgetSpentError, RateLimitedError
from gateway.store.keys import KeyFacts
from gateway.store.rate_limit import ConcurrencyGauge, RateLimit
from gateway.store.shared_counters import Counters
from gateway.store.shared_spend import SharedSpend

logger = logging.getLogger(__name__)

# How long until one of the requests under way has ended is not known; clients that wait a second cost little.
BUSY_RETRY_S = 1.0
MOST_KEYS = 20_000

RateHeaders = tuple[tuple[bytes, bytes], ...]


class KeyUse(msgspec.Struct, frozen=True):
    """One limit of a key and what is used of it. `resets_s` is None where nothing resets by time."""

    name: str
    limit: float
    used: float
    resets_s: float | None


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
    ) -> None:
        self._counters = counters
        self._clock = clock
        self._wall_clock = wall_clock
        self.spend: dict[Period, SharedSpend] = {
            "day": SharedSpend(counters, "day", wall_clock),
            "month": SharedSpend(counters, "month", wall_clock),
        }
        self._meters: dict[str, tuple[Limits, _Meters]] = {}

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

    def _find_meters(self, key: KeyFacts) -> _Meters:
        known = self._meters.get(key.id)
        if known is not None and known[0] == key.limits:
            return known[1]
        if len(self._meters) >= MOST_KEYS:
            self._meters.clear()
        meters = _Meters(self._counters, key)
        self._meters[key.id] = (key.limits, meters)
        return meters


class Admission:
    """One request that was counted; `close` it when its answer has been sent."""

    def __init__(self, meters: _Meters, tokens: float, clock: Callable[[], float]) -> None:
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
            wait_s = self._meters.tokens.take(extra, now)
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


class _Meters:
    """The counters of one key. One lock guards them all: a request takes it once."""

    def __init__(self, counters: Counters, key: KeyFacts) -> None:
        limits = key.limits
        self.key = key
        first = counters.cell(f"{key.id}/requests a minute")
        self.lock = first.lock
        per_minute, tokens, concurrent = (
            limits.requests_per_minute,
            limits.tokens_per_minute,
            limits.concurrent_requests,
        )
        self._requests = None if per_minute is None else RateLimit(first, per_minute)
        self.tokens = (
            None if tokens is None else RateLimit(counters.cell(f"{key.id}/tokens a minute"), tokens)
        )
        self._gauge = (
            None if concurrent is None else ConcurrencyGauge(counters.cell(f"{key.id}/under way"), concurrent)
        )

    def take(self, tokens: float, now: float) -> tuple[str, float] | None:
        """Count one request, or return which limit it exceeds and when to come back."""
        if self._gauge and self._gauge.entered >= self._gauge.limit:
            return "concurrent requests", BUSY_RETRY_S
        if self.tokens and (wait_s := self.tokens.take(tokens, now)):
            return "tokens", wait_s
        if self._requests and (wait_s := self._requests.take(1, now)):
            self.charge_tokens(-self.count_tokens(tokens), now)
            return "requests", wait_s
        if self._gauge:
            self._gauge.enter()
        return None

    def count_tokens(self, tokens: float) -> float:
        """Return as how many tokens `tokens` count: at most the limit, and none without one."""
        return min(tokens, self.tokens.limit) if self.tokens else 0.0

    def charge_tokens(self, extra: float, now: float) -> None:
        if self.tokens:
            self.tokens.charge(extra, now)

    def leave(self) -> None:
        if self._gauge:
            self._gauge.leave()

    def headers(self, now: float) -> RateHeaders:
        found: list[tuple[bytes, bytes]] = []
        for name, limit in (("requests", self._requests), ("tokens", self.tokens)):
            if limit is not None:
                found += (
                    (f"x-ratelimit-limit-{name}".encode(), b"%d" % limit.limit),
                    (f"x-ratelimit-remaining-{name}".encode(), b"%d" % limit.remaining(now)),
                    (f"x-ratelimit-reset-{name}".encode(), format_duration(limit.reset_s(now)).encode()),
                )
        return tuple(found)

    def report_use(self, now: float) -> list[KeyUse]:
        uses = []
        for name, limit in (("requests a minute", self._requests), ("tokens a minute", self.tokens)):
            if limit is not None:
                used = limit.limit - limit.remaining(now)
                uses.append(KeyUse(name, limit.limit, used, limit.reset_s(now)))
        if self._gauge:
            uses.append(KeyUse("requests at a time", self._gauge.limit, self._gauge.entered, None))
        return uses


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
