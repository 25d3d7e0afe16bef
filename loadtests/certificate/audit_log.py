"""The stores that the alarm reads and writes, in memory."""

from __future__ import annotations

import msgspec

from gateway.confidence.drift import DriftMonitor
from gateway.core import Audit, Certification
from loadtests.certificate.base import TARGET
from loadtests.certificate.traffic import live_certificate

TASK = "task"


class AuditList:
    """An audit log, numbered from 1."""

    def __init__(self) -> None:
        self._audits: list[Audit] = []

    def put(self, audit: Audit) -> None:
        """Append `audit`."""
        self._audits.append(audit)

    def since(self, seq: int) -> list[tuple[int, Audit]]:
        """Return the audits numbered above `seq`, with their numbers."""
        return list(enumerate(self._audits[seq:], start=seq + 1))


class CertificationDict:
    """The certification of every task."""

    are_known = True

    def __init__(self, *certifications: Certification) -> None:
        self._stored = {each.task: each for each in certifications}

    def of(self, task: str) -> Certification:
        """Return the certification of `task`."""
        return self._stored.get(task) or Certification(task=task)

    def put_if(self, epoch: int, certification: Certification) -> bool:
        """Store `certification` if the stored one is still of `epoch`."""
        if self.of(certification.task).epoch != epoch:
            return False
        self._stored[certification.task] = certification
        return True


class WatchedTask:
    """One live task, its audit log and its drift monitor."""

    def __init__(self) -> None:
        self.log = AuditList()
        live = Certification(task=TASK, version=1, certificates=(live_certificate(),))
        self._certifications = CertificationDict(live)
        self._monitor = DriftMonitor(self._certifications, self.log)

    @property
    def certification(self) -> Certification:
        """What the task's specialist may do now."""
        return self._certifications.of(TASK)

    def is_alarmed(self) -> bool:
        """Let the monitor read the log; return whether it raised the alarm now."""
        return bool(self._monitor.refresh())

    def publish_version(self) -> None:
        """Give the task another version that holds the same certificates."""
        old = self.certification
        self._certifications.put_if(old.epoch, msgspec.structs.replace(old, version=(old.version or 0) + 1))

    def audit(
        self, number: int, at: float, loss: float, *, caller: str = "app", is_vouched_for: bool = True
    ) -> Audit:
        """Return an accepted audit of the text `number`."""
        return Audit(
            request_id=f"{caller} {number} {at}",
            at=at,
            task=TASK,
            stratum="new",
            template="feed",
            text_hash=number,
            caller=caller,
            is_vouched_for=is_vouched_for,
            version=self.certification.version or 0,
            loss=loss,
            score=0.9,
            accepted=(TARGET,),
        )
