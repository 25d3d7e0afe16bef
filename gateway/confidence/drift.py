"""The watch over every certificate in force."""

from __future__ import annotations

import msgspec

from gateway.confidence.base import AuditHistory, StandingBook
from gateway.confidence.e_detector import EDetector
from gateway.core import Audit, Route, Standing

_Certificate = tuple[str, str, int, int]


class DriftMonitor:
    """Sends a task back to the teacher when its audited losses say that its certificate is broken.

    Every worker may run one: all see the audits in the same order and come to the same
    alarm, and the first to write it wins. A new one replays the log and knows as much.
    """

    def __init__(self, standings: StandingBook, audits: AuditHistory) -> None:
        self._standings = standings
        self._audits = audits
        self._seen = 0
        self._detectors: dict[_Certificate, EDetector] = {}

    def refresh(self) -> list[Standing]:
        """Take new audits in and return the standings which this call put into alarm; may block."""
        alarms = []
        for seq, audit in self._audits.since(self._seen):
            self._seen = seq
            if audit.accepted and (alarm := self._hear(audit)):
                alarms.append(alarm)
        return alarms

    def _hear(self, audit: Audit) -> Standing | None:
        standing = self._standings.of(Route(audit.task, audit.lane))
        if not standing.serves or (standing.version, standing.epoch) != (audit.version, audit.epoch):
            return None
        detector = self._detector(audit, standing.alpha)
        if not detector.update(audit.loss, audit.at):
            return None
        alarm = alarmed(standing, detector.changed_at)
        return alarm if self._standings.put_if(standing.epoch, alarm) else None

    def _detector(self, audit: Audit, alpha: float) -> EDetector:
        key = (audit.task, audit.lane, audit.version, audit.epoch)
        if key not in self._detectors:
            stale = [old for old in self._detectors if old[:2] == key[:2]]
            for old in stale:
                del self._detectors[old]
            self._detectors[key] = EDetector(alpha)
        return self._detectors[key]


def alarmed(standing: Standing, changed_at: float) -> Standing:
    """Return `standing` in alarm: nothing is served, and evidence from before the change is void.

    The attempts start at 0 again: later evidence shares nothing with what earlier attempts
    saw, so the new epoch earns its own certificate with its own delta.
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
