"""What an attempt can expect, and what must be audited for it."""

from __future__ import annotations

import pytest

from gateway.confidence.sample_size import audits_to_settle
from gateway.core import RiskTarget
from gateway.distill.prospects import renewal_share
from tests.distill.test_renewal import audits
from tests.support.builders import certificate

TARGET = RiskTarget(0.02, 0.1)


@pytest.mark.parametrize("losses", [16, 20, 40])
def test_a_renewal_never_needs_more_audits_than_settle_a_certificate(losses: int) -> None:
    """Near alpha the same threshold would need many times as many: a stricter one is renewed."""
    known = certificate(target=TARGET, accepted=1_000, losses=losses, coverage=1.0, evidence_to=86_400.0)
    requests = 1_000 / 0.3 * TARGET.days

    share = renewal_share(known, audits(1_000, 0.9))

    assert share == pytest.approx(audits_to_settle(TARGET.alpha, TARGET.delta) / requests)


def test_a_renewal_of_a_good_specialist_needs_less() -> None:
    good, fair = (
        certificate(target=TARGET, accepted=1_000, losses=losses, coverage=1.0, evidence_to=86_400.0)
        for losses in (2, 12)
    )

    assert renewal_share(good, audits(1_000, 0.9)) < renewal_share(fair, audits(1_000, 0.9))
