from __future__ import annotations

import msgspec
import pytest

from gateway.core import Standing
from gateway.distill.base import EvalResult, RiskTarget
from gateway.distill.certify import certify_version, shadow_version

PROMISE = RiskTarget(alpha=0.05, delta=0.1)
GOOD = EvalResult([0.95] * 400 + [0.3] * 100, [0.0] * 400 + [1.0] * 100)
BAD = EvalResult([0.95] * 400, [1.0, 0.0] * 200)
FEW = EvalResult([0.95] * 30, [0.0] * 30)


def test_a_certified_version_goes_live(shadow: Standing) -> None:
    live = certify_version(shadow, 2, GOOD, PROMISE, 0.05)

    assert live.serves
    assert (live.version, live.audits, live.coverage, live.audits_missing) == (2, 500, 0.8, None)
    assert live.threshold is not None
    assert 0.3 < live.threshold <= 0.95
    assert live.tentative is None


@pytest.mark.parametrize("scored", [BAD, FEW])
def test_a_version_which_fails_stays_in_shadow(shadow: Standing, scored: EvalResult) -> None:
    result = certify_version(shadow, 1, scored, PROMISE, 0.05)

    assert (result.stage, result.threshold, result.version) == ("shadow", None, 1)
    assert result.audits_missing is not None
    assert result.audits_missing >= 1


def test_after_an_alarm_only_a_certificate_ends_it(shadow: Standing) -> None:
    alarm = msgspec.structs.replace(shadow, stage="alarm", epoch=1)
    assert certify_version(alarm, 2, FEW, PROMISE, 0.05).stage == "alarm"
    assert certify_version(alarm, 2, GOOD, PROMISE, 0.05).stage == "live"


@pytest.mark.parametrize(("coverage", "version"), [(0.7, 2), (0.8, 1), (0.9, 1)])
def test_a_live_version_is_replaced_only_by_one_which_covers_more(
    shadow: Standing, coverage: float, version: int
) -> None:
    live = msgspec.structs.replace(shadow, stage="live", version=1, threshold=0.7, coverage=coverage)
    assert certify_version(live, 2, GOOD, PROMISE, 0.05).version == version


def test_a_live_version_outlives_a_successor_which_fails(shadow: Standing) -> None:
    live = msgspec.structs.replace(shadow, stage="live", version=1, threshold=0.7, coverage=0.1)
    assert certify_version(live, 2, BAD, PROMISE, 0.05) == live


def test_the_tentative_threshold_is_the_loosest_good_one_by_eye(shadow: Standing) -> None:
    tried = shadow_version(shadow, 1, GOOD, PROMISE, 0.05)
    assert tried.tentative is not None
    assert 0.3 < tried.tentative <= 0.95
    assert not tried.serves
    assert tried.coverage == 0.8


def test_the_missing_audits_would_do(shadow: Standing) -> None:
    """With as many more as it asks for, all without an error, the certificate is there."""
    missing = shadow_version(shadow, 1, FEW, PROMISE, 0.05).audits_missing

    assert missing is not None
    more = 30 + missing
    assert certify_version(shadow, 1, EvalResult([0.95] * more, [0.0] * more), PROMISE, 0.05).serves


def test_no_evidence_and_no_hope_still_give_a_number(shadow: Standing) -> None:
    for scored in (EvalResult([], []), BAD, EvalResult([0.0] * 9, [1.0] * 9)):
        tried = shadow_version(shadow, 1, scored, PROMISE, 0.05)
        assert tried.tentative is None
        assert tried.audits_missing is not None
        assert tried.audits_missing >= 45
