"""The counters of one key's limits: on one machine by themselves, on several by leases."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from gateway.config.durations import format_duration
from gateway.sharing.lease_keeper import Need
from gateway.sharing.leased import LeasedGauge, LeasedRate
from gateway.sharing.leases import LeaseOffice
from gateway.store.keys import KeyFacts
from gateway.store.rate_limit import ConcurrencyGauge, RateLimit
from gateway.store.shared_counters import Counters

# How long until one of the requests under way has ended is not known; clients that wait a second cost little.
BUSY_RETRY_S = 1.0

RateHeaders = tuple[tuple[bytes, bytes], ...]


class KeyUse(msgspec.Struct, frozen=True):
    """One limit of a key and what is used of it. `resets_s` is None where nothing resets by time."""

    name: str
    limit: float
    used: float
    resets_s: float | None


class KeyMeters:
    """The counters of one key. One lock guards them all: a request takes it once."""

    def __init__(
        self, counters: Counters, key: KeyFacts, office: LeaseOffice | None, clock: Callable[[], float]
    ) -> None:
        limits = key.limits
        self.key = key
        self.turn = asyncio.Lock()
        self.lock = counters.cell(f"{key.id}/requests a minute").lock

        def create_rate(name: str, limit: float | None) -> RateLimit | LeasedRate | None:
            if limit is None:
                return None
            return (
                LeasedRate(counters, f"{key.id}/{name}", limit, office)
                if office
                else RateLimit(counters.cell(f"{key.id}/{name}"), limit)
            )

        self._requests = create_rate("requests a minute", limits.requests_per_minute)
        self.tokens = create_rate("tokens a minute", limits.tokens_per_minute)
        self._gauge: ConcurrencyGauge | None = None
        if (most := limits.concurrent_requests) is not None:
            name = f"{key.id}/under way"
            self._gauge = (
                LeasedGauge(counters, name, most, office, clock)
                if office
                else ConcurrencyGauge(counters.cell(name), most)
            )

    def lacks_lease(self, tokens: float, now: float) -> bool:
        """Whether a limit may need a lease first. Without the lock, for what is nearly always the case."""
        requests, rate, gauge = self._requests, self.tokens, self._gauge
        return (
            (isinstance(requests, LeasedRate) and not requests.is_leased(1.0, now))
            or (isinstance(rate, LeasedRate) and not rate.is_leased(min(tokens, rate.limit), now))
            or (isinstance(gauge, LeasedGauge) and gauge.needs_lease(now))
        )

    def find_needs(self, tokens: float, now: float) -> list[Need]:
        """Return the limits that need a lease before a request of `tokens` tokens can be counted."""
        needs = []
        with self.lock:
            for rate, cost in ((self._requests, 1.0), (self.tokens, tokens)):
                if isinstance(rate, LeasedRate) and rate.needs_lease(cost, now):
                    needs.append(Need(rate, cost, self.lock))
            if isinstance(self._gauge, LeasedGauge) and self._gauge.needs_lease(now):
                needs.append(Need(self._gauge, 1.0, self.lock))
        return needs

    def take(self, tokens: float, now: float) -> tuple[str, float] | None:
        """Count one request, or return which limit it exceeds and when to come back."""
        if self._gauge and self._gauge.is_full:
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
        """Take `extra` tokens whether they fit or not; negative gives back."""
        if self.tokens:
            self.tokens.charge(extra, now)

    def leave(self) -> None:
        """Count one request less under way."""
        if self._gauge:
            self._gauge.leave()

    def headers(self, now: float) -> RateHeaders:
        """Return OpenAI's headers about what is left of requests and tokens."""
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
        """Return each limit of the key but those on dollars, with what is used of it."""
        uses = []
        for name, limit in (("requests a minute", self._requests), ("tokens a minute", self.tokens)):
            if limit is not None:
                used = limit.limit - limit.remaining(now)
                uses.append(KeyUse(name, limit.limit, used, limit.reset_s(now)))
        if self._gauge:
            uses.append(KeyUse("requests at a time", self._gauge.limit, self._gauge.entered, None))
        return uses


def describe_key(
    key: KeyFacts, now: float, uses: Sequence[KeyUse] | None = None, secrets: int | None = None
) -> dict[str, Any]:
    """Return a key as plain data; with `uses`, what is used of its limits."""
    described: dict[str, Any] = {**msgspec.to_builtins(key), "state": key.state_at(now)}
    if uses is not None:
        described["use"] = msgspec.to_builtins(uses)
        described["valid_secrets"] = secrets
    return described
