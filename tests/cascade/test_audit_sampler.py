from __future__ import annotations

import msgspec
import pytest

from gateway.cascade.audit_sampler import StickySampler
from gateway.core import Plan, Standing
from tests.cascade.fakes import LIVE
from tests.support.builders import request

PLAN = Plan(policy="p", may_serve=True, audit_share=0.1, settling_audit_share=0.2, shadow_audit_share=0.4)
SETTLED = msgspec.structs.replace(LIVE, is_settled=True)
SHADOW = Standing(task="t", lane="fingerprint")


def sampler_at(minute: int, key: bytes = b"key") -> StickySampler:
    return StickySampler(key, clock=lambda: minute * 60.0 + 5)


def drawn(sampler: StickySampler, standing: Standing, count: int = 4_000) -> list[bool]:
    return [sampler.sample(request(text=f"text {n}"), PLAN, standing)[0] for n in range(count)]


@pytest.mark.parametrize(("standing", "share"), [(SETTLED, 0.1), (LIVE, 0.2), (SHADOW, 0.4)])
def test_the_share_of_audits_is_the_plans(standing: Standing, share: float) -> None:
    """Within 4 standard errors."""
    draws = drawn(sampler_at(1), standing)

    assert abs(sum(draws) / len(draws) - share) < 4 * (share * (1 - share) / len(draws)) ** 0.5


def test_the_same_content_is_drawn_alike() -> None:
    sampler = sampler_at(1)

    assert drawn(sampler, LIVE, 200) == drawn(sampler, LIVE, 200)


def test_an_audit_at_a_small_share_is_one_at_a_larger() -> None:
    """So evidence stays evidence when a task goes back to shadow."""
    sampler = sampler_at(1)
    pairs = zip(drawn(sampler, LIVE), drawn(sampler, SHADOW), strict=True)

    assert not any(live and not shadow for live, shadow in pairs)


def test_another_key_draws_other_audits() -> None:
    assert drawn(sampler_at(1, b"one"), LIVE) != drawn(sampler_at(1, b"two"), LIVE)


def test_a_request_that_insists_on_local_service_is_never_an_audit() -> None:
    assert sampler_at(1).sample(request(mode="local"), PLAN, SHADOW) == (False, 0.0)


def test_lone_surrogates_in_the_text_do_not_fail() -> None:
    sampler_at(1).sample(request(text="\ud800"), PLAN, LIVE)


def test_a_popular_text_is_drawn_again_every_minute() -> None:
    """Otherwise a wrong answer to it might never be audited."""
    draws = [sampler_at(minute).sample(request(), PLAN, SHADOW)[0] for minute in range(200)]

    assert 40 < sum(draws) < 120
