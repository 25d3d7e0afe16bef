from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gateway.confidence.drift import DriftMonitor
from gateway.confidence.judging import Evidence, try_certificate
from gateway.core import Audit, Certification, RiskTarget
from tests.confidence.conftest import TARGET, AuditList, CertificationDict
from tests.support.builders import certificate


@pytest.fixture
def certifications(live: Certification) -> CertificationDict:
    return CertificationDict(live)


def audit(at: float, loss: float, **changes: Any) -> Audit:
    """Return an audit of a text of its own; `at` is in minutes."""
    facts: dict[str, Any] = {
        "request_id": f"req-{at}",
        "at": at * 60,
        "task": "intents",
        "stratum": "new",
        "template": "feed",
        "text_hash": int(at),
        "version": 3,
        "loss": loss,
        "score": 0.9,
        "accepted": (TARGET,),
    }
    return Audit(**facts | changes)


def drift(audits: AuditList, good: int = 100, bad: int = 40) -> None:
    audits.audits += [audit(n, 0.0) for n in range(good)]
    audits.audits += [audit(good + n, 1.0) for n in range(bad)]


def perfect_evidence(units: int) -> Evidence:
    return Evidence(
        audits=[],
        scores=[0.9] * units,
        losses=[0.0] * units,
        forms=("single/short",),
        novelty_floor=-1.0,
        starts_at=0.0,
        ends_at=0.0,
        propensity=0.3,
    )


def test_drift_sends_the_task_back_to_the_teacher(
    certifications: CertificationDict, audits: AuditList
) -> None:
    drift(audits)

    (alarm,) = DriftMonitor(certifications, audits).refresh()

    assert certifications.of("intents") == alarm
    broken = alarm.certificates[0]
    assert (broken.stage, alarm.epoch, broken.threshold, alarm.version) == ("alarm", 1, None, 3)
    assert alarm.certificate_of("new", TARGET, 0.0) is None
    assert broken.valid_from == 6000.0
    assert broken.attempts == 0


def test_an_alarm_puts_the_other_strata_under_suspicion(
    certifications: CertificationDict, audits: AuditList
) -> None:
    """They go on serving, but are audited more."""
    drift(audits)

    (alarm,) = DriftMonitor(certifications, audits).refresh()

    assert [each.is_suspect for each in alarm.certificates] == [False, True, True]
    assert alarm.certificate_of("learnt", TARGET, 0.0) is not None


def test_an_alarm_voids_the_evidence_of_every_target_of_its_stratum(audits: AuditList) -> None:
    """Else answers from before the change would earn the other target a certificate."""
    lax = RiskTarget(alpha=0.1)
    waiting = certificate(target=lax, stage="shadow", threshold=None, attempts=1)
    certificates = (certificate(target=TARGET), waiting, certificate(stratum="learnt", target=lax))
    certifications = CertificationDict(Certification(task="intents", version=3, certificates=certificates))
    drift(audits)

    (alarm,) = DriftMonitor(certifications, audits).refresh()

    assert [each.valid_from for each in alarm.certificates] == [6000.0, 6000.0, 0.0]
    assert alarm.certificates[1].attempts == 0
    assert alarm.find_certificate("new", RiskTarget(alpha=0.03)).valid_from == 6000.0


def test_what_stood_on_imported_rows_must_be_earned_live_after_an_alarm(audits: AuditList) -> None:
    """The certificate that live audits were to confirm is in alarm in its place, nothing spent."""
    on_imported = RiskTarget(TARGET.alpha, TARGET.delta, evidence="imported")
    waiting = certificate(target=on_imported.confirmed, stage="shadow", threshold=None, renewal_share=1.0)
    certificates = (waiting, certificate(target=on_imported, attempts=2))
    certifications = CertificationDict(Certification(task="intents", version=3, certificates=certificates))
    audits.audits += [audit(n, 1.0, accepted=(on_imported,)) for n in range(40)]

    (alarm,) = DriftMonitor(certifications, audits).refresh()

    (left,) = alarm.certificates
    assert (left.target, left.stage, left.threshold) == (on_imported.confirmed, "alarm", None)
    assert (left.attempts, left.renewal_share) == (0, 0.0)
    assert not alarm.serves(on_imported, 0.0)


def test_an_alarm_does_not_void_what_is_in_force_for_another_target(audits: AuditList) -> None:
    """Its own alarm watches it, and must not begin again; it is under suspicion."""
    lax = RiskTarget(alpha=0.5)
    certificates = (certificate(target=TARGET), certificate(target=lax))
    certifications = CertificationDict(Certification(task="intents", version=3, certificates=certificates))
    drift(audits)

    (alarm,) = DriftMonitor(certifications, audits).refresh()

    other = alarm.certificates[1]
    assert (other.stage, other.valid_from, other.is_suspect) == ("live", 0.0, True)


def test_audits_from_before_an_alarm_do_not_count_against_the_next_certificate(
    certifications: CertificationDict, audits: AuditList
) -> None:
    """A monitor that starts after a new certificate was earned reads the losses of the old one again."""
    drift(audits)
    (alarm,) = DriftMonitor(certifications, audits).refresh()
    broken = alarm.certificates[0]
    earned = try_certificate(perfect_evidence(500), broken, now=200 * 60.0)
    assert earned is not None
    earned_again = (earned, *alarm.certificates[1:])
    certifications.put_if(alarm.epoch, msgspec.structs.replace(alarm, certificates=earned_again))
    restarted = DriftMonitor(certifications, audits)

    assert restarted.refresh() == []
    audits.audits += [audit(201 + n, 1.0) for n in range(40)]
    assert len(restarted.refresh()) == 1


def test_agreement_raises_no_alarm(
    certifications: CertificationDict, audits: AuditList, live: Certification
) -> None:
    audits.audits += [audit(n, float(n % 40 == 0)) for n in range(1000)]
    assert DriftMonitor(certifications, audits).refresh() == []
    assert certifications.of("intents") == live


@pytest.mark.parametrize("changes", [{"accepted": ()}, {"accepted": (RiskTarget(),)}, {"task": "other"}])
def test_audits_outside_the_certificate_raise_no_alarm(
    certifications: CertificationDict, audits: AuditList, changes: dict[str, object]
) -> None:
    """The certificate promises nothing about drafts below its threshold, or of another stratum or task."""
    drift(audits)
    audits.audits = [msgspec.structs.replace(old, **changes) for old in audits.audits]
    assert DriftMonitor(certifications, audits).refresh() == []


def test_many_workers_raise_one_alarm(certifications: CertificationDict, audits: AuditList) -> None:
    monitors = [DriftMonitor(certifications, audits) for _ in range(4)]
    drift(audits)

    alarms = [alarm for monitor in monitors for alarm in monitor.refresh()]

    assert len(alarms) == certifications.writes == 1


def test_a_restarted_monitor_has_the_state_of_the_old_one(
    certifications: CertificationDict, audits: AuditList
) -> None:
    drift(audits, bad=3)
    assert DriftMonitor(certifications, audits).refresh() == []
    audits.put(audit(200, 1.0))

    assert len(DriftMonitor(certifications, audits).refresh()) == 1


def test_an_audit_counts_once(certifications: CertificationDict, audits: AuditList) -> None:
    monitor = DriftMonitor(certifications, audits)
    drift(audits, bad=3)
    assert [monitor.refresh() for _ in range(5)] == [[]] * 5


def test_a_new_version_does_not_forget_what_the_old_one_did(
    certifications: CertificationDict, audits: AuditList, live: Certification
) -> None:
    """Each version came with the same promise; a drift that outlives one must not be forgotten with it."""
    monitor = DriftMonitor(certifications, audits)
    drift(audits, bad=3)
    assert monitor.refresh() == []
    certifications.put_if(0, msgspec.structs.replace(live, version=4))
    audits.put(audit(200, 1.0, version=4))

    assert len(monitor.refresh()) == 1


def test_copies_of_a_text_in_a_minute_are_one_unit(
    certifications: CertificationDict, audits: AuditList
) -> None:
    """A retry storm of one wrong answer is no drift."""
    audits.audits += [audit(n, 0.0) for n in range(100)]
    audits.audits += [audit(100, 1.0, request_id=f"copy-{n}") for n in range(50)]

    assert DriftMonitor(certifications, audits).refresh() == []


def test_each_risk_target_has_an_alarm_of_its_own(audits: AuditList) -> None:
    """What breaks a promise of 2 % may keep one of 50 %."""
    lax = RiskTarget(alpha=0.5)
    certificates = (certificate(), certificate(target=lax))
    certifications = CertificationDict(Certification(task="intents", version=3, certificates=certificates))
    audits.audits += [audit(n, float(n % 5 == 0), accepted=(RiskTarget(), lax)) for n in range(200)]

    (alarm,) = DriftMonitor(certifications, audits).refresh()

    assert [each.stage for each in alarm.certificates] == ["alarm", "live"]


def test_a_graded_certificate_is_judged_by_its_own_losses(audits: AuditList) -> None:
    """What the exact one counts as wrong may be nearly right."""
    graded = RiskTarget(alpha=0.05, agreement="set_f1")
    certificates = (certificate(target=TARGET), certificate(target=graded))
    certifications = CertificationDict(Certification(task="intents", version=3, certificates=certificates))
    audits.audits += [audit(n, 1.0, accepted=(TARGET, graded), graded=(1.0, 0.02)) for n in range(300)]

    (alarm,) = DriftMonitor(certifications, audits).refresh()

    assert [each.stage for each in alarm.certificates] == ["alarm", "live"]
