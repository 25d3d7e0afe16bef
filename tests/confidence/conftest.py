"""A request, a certification and stores in memory, for the tests of confidence."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gateway.core import Audit, Certification, Request, RiskTarget
from tests.support.builders import certified, request

TARGET = RiskTarget(alpha=0.05)


class AuditList:
    """An audit log in memory, numbered from 1."""

    def __init__(self) -> None:
        self.audits: list[Audit] = []

    def put(self, audit: Audit) -> None:
        self.audits.append(audit)

    def since(self, seq: int) -> list[tuple[int, Audit]]:
        return list(enumerate(self.audits, start=1))[seq:]


class CertificationDict:
    """Certifications in memory."""

    def __init__(self, *certifications: Certification) -> None:
        self._certifications = {certification.task: certification for certification in certifications}
        self.writes = 0
        self.are_known = True

    def of(self, task: str) -> Certification:
        return self._certifications.get(task) or Certification(task=task)

    def put_if(self, epoch: int, certification: Certification) -> bool:
        if self.of(certification.task).epoch != epoch:
            return False
        self._certifications[certification.task] = certification
        self.writes += 1
        return True


@pytest.fixture
def audits() -> AuditList:
    return AuditList()


@pytest.fixture
def live() -> Certification:
    """A task that serves drafts of version 3 with a score of at least 0.6."""
    return certified("intents", 3, threshold=0.6, target=TARGET, attempts=4)


@pytest.fixture
def ask() -> Callable[..., Request]:
    """Return the builder of requests; keywords replace fields."""
    return request
