"""What confidence needs of the stores: audits in order, standings which change by epoch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from gateway.core import Audit, Route, Standing


class AuditSink(Protocol):
    """Where audits go."""

    def put(self, audit: Audit) -> None:
        """Accept `audit` without blocking."""


class AuditHistory(Protocol):
    """Where audits come from, in one order for every reader."""

    def since(self, seq: int) -> Iterable[tuple[int, Audit]]:
        """Return the audits numbered above `seq` with their numbers, ascending; may block."""


class StandingBook(Protocol):
    """The standings, shared by every worker and the learner."""

    def of(self, route: Route) -> Standing:
        """Return the standing of a task in a lane as last read. Never blocks."""

    def put_if(self, epoch: int, standing: Standing) -> bool:
        """Store `standing` and return True if the stored epoch is still `epoch`; may block."""
