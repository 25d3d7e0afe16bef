from __future__ import annotations

import pytest

from gateway.core import UNCONSTRAINED, Constraints, Footprint

TAKES = Footprint(p50_ms=2.0, p99_ms=8.0, cpu_ms=2.0, load_ms=5.0, memory_mb=180.0)


@pytest.mark.parametrize(
    ("constraints", "excess"),
    [
        (Constraints(), ""),
        (Constraints(max_latency_ms=8.0, max_memory_mb=180.0), ""),
        (Constraints(max_latency_ms=7.9), "specialist too slow"),
        (Constraints(max_memory_mb=179.0), "specialist too large"),
    ],
)
def test_a_version_may_take_as_much_as_is_allowed(constraints: Constraints, excess: str) -> None:
    assert constraints.excess(TAKES) == excess


def test_what_was_not_measured_may_serve_only_where_nothing_is_asked() -> None:
    assert UNCONSTRAINED.excess(None) == ""
    assert Constraints(max_memory_mb=1e6).excess(None) == "specialist not measured"


def test_of_two_limits_the_smaller_holds() -> None:
    policy, settings = Constraints(max_latency_ms=50.0), Constraints(max_latency_ms=20.0, max_memory_mb=512.0)
    assert policy.strictest(settings) == Constraints(max_latency_ms=20.0, max_memory_mb=512.0)
    assert policy.strictest(UNCONSTRAINED) == policy


def test_reports_name_what_is_allowed() -> None:
    assert Constraints(max_latency_ms=50.0, max_memory_mb=512.0).describe() == "50 ms and 512 MB"
    assert UNCONSTRAINED.describe() == "anything"
    assert TAKES.describe() == "8.0 ms and 180 MB"
