from __future__ import annotations

import msgspec
import pytest

from gateway.cascade.audit_sampler import StickySampler
from gateway.core import Certification, MatchKind, Plan, Request, Route, Stratum
from gateway.policy.planner import PolicyPlanner
from gateway.policy.schema import Policy
from tests.cascade.fakes import LIVE
from tests.support.builders import certified, request

PLAN = Plan(policy="p", may_serve=True, audit_share=0.1, settling_audit_share=0.2, shadow_audit_share=0.4)
SETTLED = certified(is_settled=True)
SHADOW = Certification(task="t")
CONFIRMING = certified(renewal_share=0.6, stage="shadow", threshold=None, attempts=0)
ROUTE = Route("t")


def sampler_at(minute: int, key: bytes = b"key") -> StickySampler:
    return StickySampler(key, clock=lambda: minute * 60.0 + 5)


def drawn(sampler: StickySampler, certification: Certification, count: int = 4_000) -> list[bool]:
    return [sampler.sample(request(text=f"text {n}"), PLAN, certification, ROUTE)[0] for n in range(count)]


@pytest.mark.parametrize(
    ("certification", "share"), [(SETTLED, 0.1), (LIVE, 0.2), (SHADOW, 0.4), (CONFIRMING, 0.6)]
)
def test_the_share_of_audits_is_the_plans(certification: Certification, share: float) -> None:
    """Within 4 standard errors."""
    draws = drawn(sampler_at(1), certification)

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


@pytest.mark.parametrize(
    "asked",
    [
        request(mode="local"),
        request(mode="shadow"),
        request(may_harvest=False),
        request(is_stored_by_default=True),
    ],
)
def test_what_no_certificate_serves_is_evidence_for_none(asked: Request) -> None:
    everything = msgspec.structs.replace(PLAN, shadow_audit_share=1.0)

    assert sampler_at(1).sample(asked, everything, SHADOW, ROUTE) == (False, 0.0)


def test_a_near_copy_on_probation_is_always_audited() -> None:
    probation = Route("t", "embedding", 0.95, is_on_probation=True)

    assert sampler_at(1).sample(request(), PLAN, SETTLED, probation) == (True, 1.0)


@pytest.mark.parametrize(
    ("certification", "share"),
    [
        (certified(is_settled=True, is_suspect=True), 0.2),
        (certified(is_settled=True, renewal_share=0.3), 0.3),
        (certified(is_settled=True, renewal_share=0.9), 0.4),
        (certified(is_settled=True, expires_at=0.0), 0.4),
    ],
)
def test_suspicion_and_a_renewal_raise_the_share(certification: Certification, share: float) -> None:
    """Never above the shadow share, which a lapsed certificate goes back to."""
    assert sampler_at(1).sample(request(), PLAN, certification, ROUTE)[1] == share


@pytest.mark.parametrize(
    ("settled", "match", "share"),
    [("new", "fingerprint", 0.1), ("new", "embedding", 0.2), ("variant", "embedding", 0.1)],
)
def test_near_copies_and_others_are_audited_by_their_own_certificates(
    settled: Stratum, match: MatchKind, share: float
) -> None:
    """Else a copy that is seldom asked would keep the audits of all other traffic high."""
    new = SETTLED.certificates[0]
    certificates = tuple(
        msgspec.structs.replace(new, stratum=stratum, is_settled=stratum == settled)
        for stratum in ("new", "variant")
    )
    certification = msgspec.structs.replace(SETTLED, certificates=certificates)

    assert sampler_at(1).sample(request(), PLAN, certification, Route("t", match))[1] == share


def test_the_reserve_of_a_budget_is_drawn_from() -> None:
    """It pays for nothing else: without draws the alarm would be blind until midnight."""
    policy = Policy(name="p", usd_per_day=10.0)
    plan = PolicyPlanner([policy], lambda _: 9.7).plan(request())

    assert plan.is_reserve
    assert sampler_at(1).sample(request(), plan, SETTLED, ROUTE)[1] == policy.audit.certified


def test_lone_surrogates_in_the_text_do_not_fail() -> None:
    sampler_at(1).sample(request(text="\ud800"), PLAN, LIVE, ROUTE)


def test_a_popular_text_is_drawn_again_every_minute() -> None:
    """Otherwise a wrong answer to it might never be audited."""
    draws = [sampler_at(minute).sample(request(), PLAN, SHADOW, ROUTE)[0] for minute in range(200)]

    assert 40 < sum(draws) < 120
