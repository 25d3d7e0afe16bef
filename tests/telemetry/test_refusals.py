"""Refusals are counted by reason, key and policy, and do not fill the log."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from gateway.telemetry.refusals import LOG_EVERY_S, Refusals


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def counted(refusals: Refusals, registry: CollectorRegistry) -> list[str]:
    refusals.update_registry()
    lines = generate_latest(registry).decode().splitlines()
    return [line for line in lines if line.startswith("stepdown_refusals_total{")]


def test_a_refusal_is_counted_by_status_reason_key_and_policy() -> None:
    registry = CollectorRegistry()
    refusals = Refusals(registry)
    for _ in range(3):
        refusals.count(403, "forbidden by policy", "app", "interns")

    assert counted(refusals, registry) == [
        'stepdown_refusals_total{key="app",policy="interns",reason="forbidden by policy",status="403"} 3.0'
    ]


def test_what_overload_refuses_is_counted() -> None:
    registry = CollectorRegistry()
    refusals = Refusals(registry)
    refusals.count(503, "overloaded", "", "")

    assert counted(refusals, registry) == [
        'stepdown_refusals_total{key="",policy="",reason="overloaded",status="503"} 1.0'
    ]


def test_other_errors_are_no_refusals() -> None:
    registry = CollectorRegistry()
    refusals = Refusals(registry)
    for status in (400, 408, 500, 502):
        refusals.count(status, "x", "app", "")

    assert counted(refusals, registry) == []


def test_a_label_has_a_bounded_number_of_values() -> None:
    registry = CollectorRegistry()
    refusals = Refusals(registry)
    for number in range(1_000):
        refusals.count(429, "rate limit exceeded", f"key {number}", "")

    assert len(counted(refusals, registry)) == 201


def test_a_kind_is_logged_once_a_minute_with_the_count_since(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    refusals = Refusals(CollectorRegistry(), clock)
    for _ in range(37):
        refusals.count(401, "invalid api key", "", "")
    refusals.count(404, "unknown url", "", "")
    clock.now = LOG_EVERY_S
    refusals.count(401, "invalid api key", "app", "")

    assert [record.getMessage() for record in caplog.records] == [
        "refused 1 time since this was last said: 401 invalid api key",
        "refused 1 time since this was last said: 404 unknown url",
        "refused 37 times since this was last said: 401 invalid api key (last: key 'app')",
    ]
