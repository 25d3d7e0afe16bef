"""The audit log as confidence needs it: audits go in, and come out in order."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from gateway.core import Audit


class AuditSink(Protocol):
    """The end of the audit log where audits go in."""

    def put(self, audit: Audit) -> None:
        """Accept `audit` without blocking."""


class AuditHistory(Protocol):
    """The end of the audit log where audits come out, in one order for every reader."""

    def since(self, seq: int) -> Iterable[tuple[int, Audit]]:
        """Return the audits numbered above `seq` with their numbers, ascending; may block."""
