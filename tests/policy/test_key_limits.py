"""A key's holder gets what its limits allow, is told the truth about the rest, and pays what was used."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.core import Limits
from gateway.errors import BudgetSpentError, RateLimitedError, RequestError
from gateway.policy.key_limits import KeyLimits
from gateway.store.keys import KeyFacts
from gateway.store.shared_counters import Counters

NOON = 1_700_049_600.0
"""2023-11-15 12:00 UTC."""


class Clock:
    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock(1_000.0)


@pytest.fixture
def limits(clock: Clock) -> KeyLimits:
    return KeyLimits(Counters(None), clock, lambda: NOON)


def key(name: str = "shop", **limits: Any) -> KeyFacts:
    return KeyFacts(id=f"key-{name}", name=name, tenant=name, created_at=0.0, limits=Limits(**limits))


def header(error: RequestError, name: str) -> str | None:
    return next((value.decode() for key, value in error.headers if key == name.encode()), None)


def test_a_key_without_limits_is_counted_nowhere(limits: KeyLimits) -> None:
    assert limits.admit(key(), 100) is None


def test_the_request_beyond_the_limit_is_refused_with_the_true_time_to_wait(
    limits: KeyLimits, clock: Clock
) -> None:
    shop = key(requests_per_minute=2)
    for _ in range(2):
        limits.admit(shop, 0)

    with pytest.raises(RateLimitedError) as refusal:
        limits.admit(shop, 0)

    error = refusal.value
    assert (error.status, error.code, error.kind) == (429, "rate_limit_exceeded", "requests")
    assert (header(error, "retry-after"), header(error, "retry-after-ms")) == ("30", "30000")
    assert header(error, "x-ratelimit-remaining-requests") == "0"
    assert header(error, "x-ratelimit-reset-requests") == "1m0s"
    assert header(error, "x-should-retry") is None
    clock.now += 30
    assert limits.admit(shop, 0) is not None


@pytest.mark.parametrize("name", ["requests_per_minute", "tokens_per_minute", "concurrent_requests"])
def test_a_limit_that_lets_nothing_through_sends_nobody_to_wait(limits: KeyLimits, name: str) -> None:
    """The official clients would come back twice, a minute later each."""
    zero: dict[str, Any] = {name: 0}

    with pytest.raises(RateLimitedError, match="lets nothing through") as refusal:
        limits.admit(key(**zero), 1)

    assert header(refusal.value, "x-should-retry") == "false"


def test_an_answer_to_a_limited_key_says_what_is_left(limits: KeyLimits) -> None:
    admission = limits.admit(key(requests_per_minute=60, tokens_per_minute=600), 100)

    assert admission is not None
    assert dict(admission.headers()) == {
        b"x-ratelimit-limit-requests": b"60",
        b"x-ratelimit-remaining-requests": b"59",
        b"x-ratelimit-reset-requests": b"1s",
        b"x-ratelimit-limit-tokens": b"600",
        b"x-ratelimit-remaining-tokens": b"500",
        b"x-ratelimit-reset-tokens": b"10s",
    }


def test_no_more_requests_are_under_way_than_allowed(limits: KeyLimits) -> None:
    shop = key(concurrent_requests=1)
    first = limits.admit(shop, 0)
    assert first is not None
    with pytest.raises(RateLimitedError, match="on requests at a time: Limit 1"):
        limits.admit(shop, 0)

    first.close()
    first.close()

    assert limits.admit(shop, 0) is not None
    with pytest.raises(RateLimitedError):
        limits.admit(shop, 0)


def test_a_refused_request_takes_nothing(limits: KeyLimits) -> None:
    shop = key(requests_per_minute=1, tokens_per_minute=600, concurrent_requests=9)
    limits.admit(shop, 100)
    with pytest.raises(RateLimitedError, match="requests per min"):
        limits.admit(shop, 100)

    assert [use.used for use in limits.report_use(shop)] == [1, 100, 1]


def test_tokens_are_taken_by_estimate_and_settled_by_usage(limits: KeyLimits) -> None:
    shop = key(tokens_per_minute=1_000)
    admission = limits.admit(shop, 100)
    assert admission is not None
    admission.take_tokens(300)

    limits.settle(shop.id, reserved_tokens=admission.tokens, tokens=250, usd=0.0)

    (use,) = limits.report_use(shop)
    assert use.used == 250


def test_tokens_beyond_the_estimate_are_paid_off_by_waiting(limits: KeyLimits, clock: Clock) -> None:
    shop = key(tokens_per_minute=600)
    limits.admit(shop, 100)
    limits.settle(shop.id, reserved_tokens=100, tokens=1_200, usd=0.0)

    with pytest.raises(RateLimitedError) as refusal:
        limits.admit(shop, 10)

    assert header(refusal.value, "retry-after") == "61"
    assert refusal.value.kind == "tokens"
    clock.now += 61
    assert limits.admit(shop, 10) is not None


def test_a_request_that_reached_no_teacher_gives_its_tokens_back(limits: KeyLimits) -> None:
    shop = key(tokens_per_minute=600)
    admission = limits.admit(shop, 500)
    assert admission is not None

    admission.give_back_tokens()
    admission.give_back_tokens()

    assert limits.report_use(shop)[0].used == 0


def test_an_estimate_beyond_the_limit_gives_back_no_more_than_it_took(
    limits: KeyLimits, clock: Clock
) -> None:
    shop = key(tokens_per_minute=600)
    admission = limits.admit(shop, 1_000_000)
    assert admission is not None
    assert admission.tokens == 600

    limits.settle(shop.id, reserved_tokens=admission.tokens, tokens=500, usd=0.0)

    assert limits.report_use(shop)[0].used == 500


@pytest.mark.parametrize(
    ("period", "resets"), [("day", "2023-11-16 00:00 UTC"), ("month", "2023-12-01 00:00 UTC")]
)
def test_a_spent_budget_says_when_it_begins_anew_and_that_retries_do_not_help(
    limits: KeyLimits, period: str, resets: str
) -> None:
    shop = key(usd_per_day=2.0) if period == "day" else key(usd_per_month=2.0)
    limits.admit(shop, 0)
    limits.settle(shop.id, reserved_tokens=0, tokens=0, usd=2.0)

    with pytest.raises(
        BudgetSpentError, match=f"key 'shop' for this {period} .* anew at {resets}"
    ) as refusal:
        limits.admit(shop, 0)

    error = refusal.value
    assert (error.status, error.code, error.kind) == (429, "budget_exceeded", "insufficient_quota")
    assert header(error, "x-should-retry") == "false"
    assert int(header(error, "retry-after") or 0) >= 43_200


def test_a_warning_is_logged_once_when_a_share_of_the_budget_is_spent(
    limits: KeyLimits, caplog: pytest.LogCaptureFixture
) -> None:
    shop = key(usd_per_day=1.0, warn_share=0.5)
    limits.admit(shop, 0)
    for _ in range(9):
        limits.settle(shop.id, reserved_tokens=0, tokens=0, usd=0.1)

    assert [record.getMessage() for record in caplog.records] == [
        "key 'shop' has spent $0.50 of its $1.00 this day (UTC)"
    ]


def test_two_keys_never_share_a_limit(limits: KeyLimits) -> None:
    limits.admit(key("one", requests_per_minute=1), 0)

    assert limits.admit(key("two", requests_per_minute=1), 0) is not None
