"""Drift detection for every certificate in force."""

from __future__ import annotations

import msgspec

from gateway.confidence.base import AuditHistory
from gateway.confidence.e_detector import EDetector
from gateway.confidence.units import UnitFilter
from gateway.core import Audit, Certificate, Certification, Certifications, RiskTarget, Stratum

_Watched = tuple[str, Stratum, RiskTarget]


class DriftMonitor:
    """Withdraws a certificate when the audited losses of what it serves show that it is broken.

    One detector per task, stratum and risk target. It goes on over versions: each of them came with
    the same promise, and a drift that outlives a version must not be forgotten with it. Every
    worker may run a monitor: all see the audits in one order and raise the same alarm, and the
    first to write it wins. A new monitor replays the audit log to the same state.
    """

    def __init__(self, certifications: Certifications, audits: AuditHistory) -> None:
        self._certifications = certifications
        self._audits = audits
        self._seen = 0
        self._detectors: dict[_Watched, _Detector] = {}

    def refresh(self) -> list[Certification]:
        """Process the new audits; return the certifications that this call put into alarm. May block."""
        alarms = []
        for seq, audit in self._audits.since(self._seen):
            self._seen = seq
            for number, target in enumerate(audit.accepted):
                if alarm := self._process_audit(audit, target, audit.loss_for(number)):
                    alarms.append(alarm)
        return alarms

    def _process_audit(self, audit: Audit, target: RiskTarget, loss: float) -> Certification | None:
        certification = self._certifications.of(audit.task)
        certificate = certification.find_certificate(audit.stratum, target)
        if certificate.stage != "live" or audit.at < certificate.watched_from:
            return None
        watched = (audit.task, audit.stratum, target)
        detector = self._detectors.get(watched)
        if detector is None or detector.watched_from != certificate.watched_from:
            detector = self._detectors[watched] = _Detector(target.alpha, certificate.watched_from)
        if not detector.is_alarmed_by(audit, loss):
            return None
        alarm = _in_alarm(certification, certificate, detector.changed_at)
        return alarm if self._certifications.put_if(certification.epoch, alarm) else None


class _Detector:
    """The e-detector of one certificate, fed with independent units since its last alarm."""

    def __init__(self, alpha: float, watched_from: float) -> None:
        self.watched_from = watched_from
        self._losses = EDetector(alpha)
        self._units = UnitFilter()

    @property
    def changed_at(self) -> float:
        return self._losses.changed_at

    def is_alarmed_by(self, audit: Audit, loss: float) -> bool:
        return self._units.admit(audit) and self._losses.update(loss, audit.at)


def _in_alarm(certification: Certification, broken: Certificate, changed_at: float) -> Certification:
    """Return `certification` with `broken` in alarm and all that is in force under suspicion.

    Evidence from before `changed_at` is void for it and for the other targets of its stratum that
    are not in force, and their attempts restart at 0: later evidence shares nothing with what earlier
    attempts saw, so it earns a certificate with its own delta. What stood on imported rows has to be
    earned on live audits: the certificate that these were to confirm is in alarm in its place.
    """
    alarm = msgspec.structs.replace(
        broken,
        target=broken.target.confirmed,
        stage="alarm",
        threshold=None,
        tentative=None,
        issued_at_attempt=0,
        audits=0,
        accepted=0,
        losses=0.0,
        coverage=0.0,
        is_settled=False,
        audits_missing=None,
        note="drift: audited answers disagree with the teacher more often than certified",
    )

    def after_alarm(each: Certificate) -> Certificate:
        if each.stratum == broken.stratum and (each == broken or each.stage != "live"):
            valid_from = max(each.valid_from, changed_at)
            changed = alarm if each == broken else each
            return msgspec.structs.replace(changed, attempts=0, valid_from=valid_from)
        return msgspec.structs.replace(each, is_suspect=True)

    replaced = (alarm.stratum, alarm.target)
    certificates = tuple(
        after_alarm(each)
        for each in certification.certificates
        if each == broken or (each.stratum, each.target) != replaced
    )
    return msgspec.structs.replace(certification, epoch=certification.epoch + 1, certificates=certificates)
