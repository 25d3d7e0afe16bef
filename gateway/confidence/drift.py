"""Drift detection for every certificate in force."""

from __future__ import annotations

import msgspec

from gateway.confidence.base import AuditHistory
from gateway.confidence.e_detector import EDetector
from gateway.core import Audit, Route, Standing, Standings

_Certificate = tuple[str, str, int, int]
"""Task, lane, version, epoch."""


class DriftMonitor:
    """Sends a task back to the teacher when its audited losses show that its certificate is broken.

    Every worker may run one: all see the audits in the same order and raise the same alarm, and
    the first to write it wins. A new monitor replays the audit log to the same state.
    """

    def __init__(self, standings: Standings, audits: AuditHistory) -> None:
        self._standings = standings
        self._audits = audits
        self._seen = 0
        self._detectors: dict[_Certificate, EDetector] = {}

    def refresh(self) -> list[Standing]:
        """Process the new audits; return the standings that this call put into alarm. May block."""
        alarms = []
        for seq, audit in self._audits.since(self._seen):
            self._seen = seq
            if audit.accepted and (alarm := self._process_audit(audit)):
                alarms.append(alarm)
        return alarms

    def _process_audit(self, audit: Audit) -> Standing | None:
        standing = self._standings.of(Route(audit.task, audit.lane))
        if not standing.serves or (standing.version, standing.epoch) != (audit.version, audit.epoch):
            return None
        detector = self._detector_of(audit, standing.alpha)
        if not detector.update(audit.loss, audit.at):
            return None
        alarm = _in_alarm(standing, detector.changed_at)
        return alarm if self._standings.put_if(standing.epoch, alarm) else None

    def _detector_of(self, audit: Audit, alpha: float) -> EDetector:
        key = (audit.task, audit.lane, audit.version, audit.epoch)
        if key not in self._detectors:
            stale = [old for old in self._detectors if old[:2] == key[:2]]
            for old in stale:
                del self._detectors[old]
            self._detectors[key] = EDetector(alpha)
        return self._detectors[key]


def _in_alarm(standing: Standing, changed_at: float) -> Standing:
    """Return `standing` in alarm: nothing is served, and evidence from before `changed_at` is void.

    Attempts restart at 0: later evidence shares nothing with the evidence of earlier attempts,
    so the new epoch earns its own certificate with its own delta.
    """
    return msgspec.structs.replace(
        standing,
        stage="alarm",
        epoch=standing.epoch + 1,
        threshold=None,
        tentative=None,
        attempts=0,
        audits=0,
        is_settled=False,
        audits_missing=None,
        coverage=0.0,
        valid_from=changed_at,
        note="drift: audited answers disagree with the teacher more often than certified",
    )
