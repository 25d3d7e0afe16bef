"""When the version that drafts is tested again, and when audits may become rare."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gateway.confidence.judging import ScoredAudit, select_evidence
from gateway.confidence.sample_size import audits_to_settle
from gateway.core import Certificate, Certification, RiskTarget
from gateway.distill.renewal import count_units, is_last_try, is_renewal_due, is_settled, serves_no_more
from gateway.harvest.base import Row
from tests.distill.conftest import harvested
from tests.support.builders import certificate, scored_audit

TARGET = RiskTarget(0.05, 0.1)
ENOUGH = audits_to_settle(TARGET.alpha, TARGET.delta)
NOW = 1_000.0
EXPIRES_AT = NOW + 29 * 86_400


def young(**changes: Any) -> Certificate:
    fields: dict[str, Any] = {
        "stratum": "new",
        "target": TARGET,
        "audits": 100,
        "coverage": 0.8,
        "expires_at": EXPIRES_AT,
    }
    return certificate(**fields | changes)


def task(*certificates: Certificate) -> Certification:
    return Certification(task="t", version=1, certificates=certificates)


def audits(count: int, score: float) -> list[ScoredAudit]:
    return [scored_audit(n, score=score) for n in range(count)]


def held_out(count: int, propensity: float, start: int = 0) -> list[Row]:
    rows = (harvested(f"text {n}", "a", at=float(n), held_out=True) for n in range(start, start + count))
    return [msgspec.structs.replace(row, propensity=propensity) for row in rows]


@pytest.mark.parametrize(("units", "is_due"), [(149, False), (150, True)])
def test_a_young_certificate_is_tested_again_when_its_window_has_grown_by_half(
    units: int, is_due: bool
) -> None:
    assert is_renewal_due(task(young(is_settled=False)), units, NOW) is is_due
    assert not is_renewal_due(task(young(is_settled=True)), units, NOW)


def test_certificates_of_another_policy_do_not_delay_a_renewal() -> None:
    """Both were tested on the same audits: they are not twice as many."""
    other = young(target=RiskTarget(0.02, 0.1))

    assert is_renewal_due(task(young(is_settled=False), other), 150, NOW)


def test_what_the_next_failure_would_end_is_renewed_although_it_is_settled() -> None:
    """Else no new version could be tested any more."""
    spent = young(is_settled=True, attempts=2, issued_at_attempt=1)

    assert is_last_try(spent)
    assert is_renewal_due(task(spent), 150, NOW)


def test_an_old_certificate_is_renewed_whatever_has_come() -> None:
    assert is_renewal_due(task(young(is_settled=True)), 1, NOW + 20 * 86_400)


def test_only_texts_that_today_s_window_holds_are_units() -> None:
    """Rows that thinning drops, or copies of a text, are no reason to test again."""
    shadow, settled = held_out(300, 0.3), held_out(200, 0.1, start=1_000)
    copies = held_out(200, 0.1, start=1_000)

    units = count_units(task(young()), shadow + sorted(settled + copies, key=lambda row: row.at), NOW)

    assert 270 <= units <= 330


@pytest.mark.parametrize(
    ("count", "coverage", "expected"),
    [(ENOUGH - 1, 0.8, False), (ENOUGH, 0.8, True), (50, 0.94, False), (50, 0.95, True)],
)
def test_audits_become_rare_when_more_of_them_would_not_pay(
    count: int, coverage: float, expected: bool
) -> None:
    """There is enough evidence, or less is left to the teacher than the audits cost."""
    known = young(threshold=0.5, coverage=coverage)
    evidence = select_evidence(audits(count, 0.9), known, float(count), 10_000)

    assert is_settled(known, evidence) is expected


def test_audits_below_the_threshold_settle_nothing() -> None:
    known = young(threshold=0.95)
    evidence = select_evidence(audits(2 * ENOUGH, 0.9), known, 1.0 * 2 * ENOUGH, 10_000)

    assert not is_settled(known, evidence)


STRICT, LAX = RiskTarget(0.02, 0.1), RiskTarget(0.05, 0.1)


def serving(strict: float, lax: float) -> Certification:
    """Return a task that serves these shares by two policies; 0: it has no certificate for one."""
    shares = {STRICT: strict, LAX: lax}
    return task(
        *(
            certificate(target=target, audits=100, coverage=share, stage="live" if share else "shadow")
            for target, share in shares.items()
        )
    )


@pytest.mark.parametrize(
    ("old", "new", "stays"),
    [
        ((0.0, 0.8), (0.0, 0.0), True),  # the strictest served nothing: any version took over
        ((0.0, 0.8), (0.0, 0.5), True),
        ((0.0, 0.8), (0.0, 0.9), False),
        ((0.5, 0.8), (0.55, 0.3), True),  # a little more at the strictest, much less at the other
        ((0.5, 0.8), (0.6, 0.8), False),
        ((0.0, 0.0), (0.0, 0.0), False),  # where none serves the newer one drafts
    ],
)
def test_a_version_stays_that_serves_more_over_all_policies(
    old: tuple[float, float], new: tuple[float, float], stays: bool
) -> None:
    assert serves_no_more(serving(*new), serving(*old), NOW) is stays


def test_a_price_is_what_may_be_lost() -> None:
    assert serves_no_more(serving(0.5, 0.5), serving(0.5, 0.6), NOW)
    assert not serves_no_more(serving(0.5, 0.5), serving(0.5, 0.6), NOW, price=0.9)
    assert serves_no_more(serving(0.0, 0.0), serving(0.0, 0.6), NOW, price=0.0)
    assert not serves_no_more(serving(0.0, 0.1), serving(0.0, 0.6), NOW, price=0.0)
