"""A version that takes more than every policy allows is made, measured, and not promoted."""

from __future__ import annotations

import pytest

from gateway.core import Constraints, Footprint
from gateway.errors import RegistryError
from tests.distill.conftest import Home, tickets
from tests.distill.test_learner import fed

SLOW = Footprint(p50_ms=40.0, p99_ms=80.0, cpu_ms=40.0, load_ms=5.0, memory_mb=300.0)
QUICK = Footprint(p50_ms=1.0, p99_ms=2.0, cpu_ms=1.0, load_ms=5.0, memory_mb=100.0)
LIMITS = Constraints(max_latency_ms=50.0)


def test_a_version_that_takes_too_much_never_drafts_and_the_reason_is_said(home: Home) -> None:
    home.footprint = SLOW
    events = fed(home, home.learner(constraints=LIMITS))

    assert home.certification().version is None
    assert home.certification().judged_version == 1
    assert home.stores.registry.read("task-1", 1).footprint == SLOW
    said = "version 1 takes 80.0 ms and 300 MB; its policies allow 50 ms"
    assert said in [event.detail for event in events]


def test_the_recipe_that_took_too_much_is_not_tried_again(home: Home) -> None:
    home.footprint = SLOW
    fed(home, home.learner(constraints=LIMITS), count=1_200)

    assert home.stores.registry.versions("task-1") == [1]
    assert home.certification().note == "head: its last version took 80.0 ms and 300 MB"


def test_what_took_too_much_in_a_busy_minute_is_measured_again(home: Home) -> None:
    """Else a neighbor's load while it was measured would cost the task its specialist for ever."""
    home.footprint = SLOW
    fed(home, home.learner(constraints=LIMITS))
    home.footprint = QUICK
    fed(home, home.learner(constraints=LIMITS), start=600, count=400)

    assert home.certification().footprint == QUICK
    assert home.certificate().stage == "live"


def test_where_the_limit_is_raised_it_is_made_again(home: Home) -> None:
    home.footprint = SLOW
    fed(home, home.learner(constraints=LIMITS))
    fed(home, home.learner(constraints=Constraints(max_latency_ms=100.0)), start=600, count=400)

    assert home.certification().footprint == SLOW
    assert home.certificate().stage == "live"


def test_a_version_that_takes_more_than_allowed_is_not_promoted_by_hand(home: Home) -> None:
    home.footprint = QUICK
    fed(home, home.learner(constraints=LIMITS))
    home.footprint = SLOW
    home.learner().train("task-1")
    slow = home.stores.registry.versions("task-1")[-1]
    fitting = home.certification().version

    with pytest.raises(RegistryError, match=f"version {slow} takes 80.0 ms"):
        home.learner(constraints=LIMITS).promote("task-1", slow)
    assert home.certification().version == fitting


def test_a_stricter_limit_renews_nothing_for_the_version_that_drafts(home: Home) -> None:
    home.footprint = SLOW
    fed(home, home.learner())
    before = home.certification()
    home.harvest(tickets(50, start=600))
    home.learner(constraints=LIMITS).step()

    assert home.certification().certificates == before.certificates
